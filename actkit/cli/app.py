"""The application: its subcommands, `--version`, and what happens when something goes wrong."""

import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from actkit.cli import capture, dpo, feature_dataset, reward_detect, sae_extract, saes, show
from actkit.cli.console import draw_error
from actkit.errors import ActkitError

app = typer.Typer(
    name="actkit",
    help="From a dataset and a language model to Parquet tables of activations, in one command.",
    epilog="Every run is a directory of Parquet tables; its path is the only thing printed on standard output.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.command("capture")(capture.capture)
app.command("dpo")(dpo.dpo)
app.command("feature-dataset")(feature_dataset.feature_dataset)
app.command("reward-detect")(reward_detect.reward_detect)
app.command("sae-extract")(sae_extract.sae_extract)
app.command("saes")(saes.saes)
app.command("show")(show.show)

INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"actkit {version('actkit')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 expected failure, 2 usage or configuration, 130 interrupted."""
    # Ends a pipeline such as `actkit dpo pairs.jsonl | head` quietly, as other commands do.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        status = app(arguments, standalone_mode=False)
        if status == INTERRUPTED:  # what newer versions of typer make of Ctrl-C; older ones raise Abort
            raise KeyboardInterrupt
    except ActkitError as error:
        draw_error(error.message, error.hint)
        sys.exit(error.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        draw_error("interrupted", "finished shards are in the .partial directory; --overwrite starts again")
        sys.exit(INTERRUPTED)
    except Exception as error:
        # Usage errors of typer, which is free to keep its own copy of click, know how to say what is wrong.
        describe: Any = getattr(error, "format_message", None)
        if describe is None:
            raise
        command = getattr(getattr(error, "ctx", None), "command_path", "actkit")
        # Without a message, help was asked for by giving no arguments, and has been printed.
        if describe():
            draw_error(describe(), f"{command} --help lists the options")
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)
