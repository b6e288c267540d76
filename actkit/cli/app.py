"""The application: its subcommands, `--version`, and the errors and exit statuses of failures."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import signature
from typing import Annotated, Any, NoReturn

import typer

from actkit.cli.options.help import Command
from actkit.cli.options.help_lines import Commands
from actkit.cli.screen.console import draw_error
from actkit.cli.screen.pasted import INPUT, to_paste
from actkit.cli.signals import ARGUMENTS, INTERRUPTED, Terminated, interruptible, what_is_kept
from actkit.cli.streams import end_with_reader, prepare, silence
from actkit.cli.unforeseen import printed, said
from actkit.errors import ActkitError, UsageError, did_you_mean
from actkit.pipeline.input.files import check_name
from actkit.remote.url import publicly

PANELS = {
    "Start here": "demo examples peek docs",
    "From data to tables": "dpo capture concept sae-extract feature-dataset reward-detect steer",
    "What to do with a run": "show plot report view verify export push",
    "Several machines": "merge sbatch",
    "What there is": "saes schema",
}
"""Panel → its commands, in the order of `actkit --help`; `cli/commands/` has a module and a function of each name."""
COMMANDS = {name: panel for panel, names in PANELS.items() for name in names.split()}
"""Name of each command → its panel."""
WITH_OTHERS = ("merge", "sbatch")
"""Commands that call, or look up, another command."""
PASSED_ON = {"sbatch": {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}}
"""Command → typer's settings by which it takes the command line of another command."""


def function_of(name: str) -> Callable[..., None]:
    """The function of a command."""
    own = name.replace("-", "_")
    found: Callable[..., None] = getattr(import_module(f"actkit.cli.commands.{own}"), own)
    return found


def help_of(
    context: typer.Context,
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="One of actkit's commands.")],
) -> None:
    """What a command does, and all of its options.

    Example: [b]actkit help dpo[/]
    """
    group: Any = context.parent.command if context.parent else None
    found = group.get_command(context.parent, command)
    if found is None:
        meant = did_you_mean(command, COMMANDS)
        raise UsageError(f"no command {publicly(command)}", f"{meant}actkit --help lists them")
    found.main(["--help-all" if found.shared_options else "--help"], prog_name=f"actkit {command}")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"actkit {version('actkit')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def application(arguments: Sequence[str]) -> typer.Typer:
    """Make the application with the called command alone, since making all of them takes ten times as long.

    It has all commands where none is called, and for a command that looks up another.
    """
    called = next(iter(arguments), "")
    alone = called in COMMANDS and called not in WITH_OTHERS
    app = typer.Typer(
        name="actkit",
        cls=Commands,
        help="From a dataset and a language model to Parquet tables of activations and SAE features, in one command."
        "\n\n[b]actkit demo[/] needs no file. [b]actkit peek FILE[/] says what can be done with yours, and "
        "[b]actkit docs quickstart[/] goes on from there.",
        epilog="actkit COMMAND --help has examples. Every run is a directory of Parquet tables; its path is the only "
        "thing printed on standard output.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback()(_options)
    for name in (called,) if alone else COMMANDS:
        settings = PASSED_ON.get(name)
        app.command(name, cls=Command, rich_help_panel=COMMANDS[name], context_settings=settings)(function_of(name))
    if not alone:
        app.command("help", cls=Command, rich_help_panel="What there is")(help_of)
    return app


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    0 done, 1 expected failure, 2 usage or configuration; ended by a signal: 129 SIGHUP, 130 SIGINT, 143 SIGTERM.
    """
    # This process is actkit's own. oneDNN compiles a kernel for every shape of a product and keeps 1,024, and so does
    # torch, with their working memory: 250 MB for tiny and 450 MB for GPT-2 small after batches of all lengths. A batch
    # has some five shapes, the next batch others. Both variables are read when the first kernel is compiled.
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, "8")
    ARGUMENTS.set(tuple(sys.argv[1:] if arguments is None else arguments))
    INPUT.set(None)
    prepare(ARGUMENTS.get())
    with interruptible() as arrived:
        try:
            for argument in ARGUMENTS.get():
                check_name(argument)
            status = application(ARGUMENTS.get())(arguments, standalone_mode=False, prog_name="actkit")
            if status == INTERRUPTED:  # newer versions of typer return it for Ctrl-C; older ones raise Abort
                raise KeyboardInterrupt
            sys.stdout.flush()  # here, where a full disk can still be reported
        except ActkitError as error:
            draw_error(publicly(error.message), publicly(to_paste(error.hint)))
            sys.exit(error.exit_status)
        except BrokenPipeError as error:
            end_with_reader()
            _leave_system(error)
        except (KeyboardInterrupt, Terminated, typer.Abort):
            _leave(arrived)
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic of a library in Rust is no Exception
            if arrived:  # the interrupted code may have turned the interrupt into another error
                _leave(arrived)
            # Known by their method: typer may keep its own copy of click, whose usage errors are other classes.
            describe: Any = getattr(error, "format_message", None)
            if describe is None:
                _leave_unforeseen(error)
            # The message is empty where no arguments were given and typer has printed the help.
            if describe():
                usage = " ".join(describe().replace("Value error, ", "").split())  # choices come a line each
                draw_error(publicly(usage), _usage_hint(error, usage))
            sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)


def _usage_hint(error: BaseException, said: str) -> str:
    """A hint that names the list of options; for several arguments in place of one, first the likely cause."""
    command = getattr(getattr(error, "ctx", None), "command_path", None)
    if command is None:  # an option without its argument: typer has not got to the command yet
        first = next(iter(ARGUMENTS.get()), "")
        command = f"actkit {first}" if first in {*COMMANDS, "help"} else "actkit"
    quoting = "one input at a time; quote a pattern or a text with blanks, so that the shell leaves it whole; "
    return f"{quoting if 'unexpected extra argument' in said else ''}{command} --help lists the options"


def _resumes() -> bool:
    """Whether the command of this call takes `--resume`."""
    called = next(iter(ARGUMENTS.get()), "")
    return called in COMMANDS and "resume" in signature(function_of(called)).parameters


def _leave(arrived: list[int]) -> NoReturn:
    """Exit after a signal that came before a run began, or after it was complete."""
    ended = next((Terminated(number) for number in arrived if number != signal.SIGINT), None)
    draw_error(ended.says if ended else "interrupted", what_is_kept(_resumes()))
    sys.exit(ended.exit_status if ended else INTERRUPTED)


def _leave_unforeseen(error: BaseException) -> NoReturn:
    """Exit after an error that nothing in actkit expects: say it in a sentence, and where its traceback is."""
    is_printed = printed(error)
    if isinstance(error, OSError) and error.strerror:
        _leave_system(error)
    draw_error(*said(error, is_printed))
    sys.exit(1)


def _leave_system(error: OSError) -> NoReturn:
    """Exit after the system refused a name, a path, or the writing of the result."""
    if error.errno == errno.ENAMETOOLONG:  # a text was given where a name belongs
        draw_error(f"{str(error.filename)[:80]}…: too long for a name", "check the options")
    elif error.filename is not None:
        draw_error(
            publicly(f"{error.filename}: {error.strerror}"), "check the path, who may use it, and the disk's room"
        )
    else:
        silence(sys.stdout)
        draw_error(
            f"cannot write the result: {error.strerror}", "what was finished is kept; see where standard output goes"
        )
    sys.exit(1)
