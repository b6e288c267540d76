"""The options of what is read, how much at once, and where the run goes."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from actkit.cli.options.config_file import load_config
from actkit.cli.options.groups import BATCH, OUTPUT, READ, at_home, export_formats, hidden, option
from actkit.config import Bos, OnBadRecord

InputAlias: TypeAlias = Annotated[str | None, hidden("--input", "--data", callback=at_home)]
MaxSamples: TypeAlias = Annotated[
    int | None, option(READ, "Read no more than this many records.", "--max-samples", "--max-examples", min=1)
]
Split: TypeAlias = Annotated[str, option(READ, "Which split of a dataset, or of a file or folder that has several.")]
Columns: TypeAlias = Annotated[
    str | None, option(READ, "Names for the columns of a CSV or TSV file without a header line, such as text,label,id.")
]
MaxLength: TypeAlias = Annotated[
    int | None, option(READ, "Most tokens a sequence; the model's context by default.", min=1)
]
LeadingBos: TypeAlias = Annotated[Bos, option(READ, "Leading BOS of plain text; auto leaves it to the tokenizer.")]
Date: TypeAlias = Annotated[
    str | None,
    option(
        READ, "What a chat template that asks for the date is told, such as 2026-11-27; when the run begins by default."
    ),
]
Chat: TypeAlias = Annotated[
    bool | None, option(READ, "Use the model's chat template; by default if it has one.", "--chat/--no-chat")
]
BadRecords: TypeAlias = Annotated[
    OnBadRecord, option(READ, "skip lists bad records in the table rejected; fail stops at the first.")
]
BatchTokens: TypeAlias = Annotated[
    int, option(BATCH, "Most tokens in one forward pass, padding included; changes no row.", min=1)
]
Out: TypeAlias = Annotated[Path | None, option(OUTPUT, "Directory of the run; runs/<command>-<time> by default.", "-o")]
Overwrite: TypeAlias = Annotated[bool, option(OUTPUT, "Replace an existing run.")]
Resume: TypeAlias = Annotated[bool, option(OUTPUT, "Continue an unfinished run after its last finished shard.")]
Share: TypeAlias = Annotated[
    str | None,
    option(
        OUTPUT,
        "Be task I (from 0) of N that compute the run together; then: actkit merge. Or auto: the task that a "
        "scheduler says; without one, the whole run with a process a GPU.",
        metavar="I/N",
        show_default=False,
    ),
]
EngineName: TypeAlias = Annotated[
    str | None,
    option(OUTPUT, "Share the run out among workers of a Ray cluster, or of this machine.", metavar="ray[:ADDRESS]"),
]
WorkerCount: TypeAlias = Annotated[
    int | None,
    option(
        OUTPUT,
        "With --engine and --shard auto: how many, if not one a GPU, or for --engine without one, one a CPU.",
        min=1,
        show_default=False,
    ),
]
PlanOnly: TypeAlias = Annotated[
    bool, option(OUTPUT, "Read and tokenize only; print what the run would be, and write nothing.")
]
Verify: TypeAlias = Annotated[
    int,
    option(
        OUTPUT,
        "Compute so many of the first records again on the plain Hugging Face model, and stop if the numbers "
        "differ by more than rounding.",
        min=0,
    ),
]
Profile: TypeAlias = Annotated[bool, option(OUTPUT, "Print where the time went; run.json has it in any case.")]
ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        rich_help_panel=OUTPUT,
        help="YAML file of options, such as a run's config.yaml; flags and ACTKIT_* come first.",
        callback=load_config,
        is_eager=True,
    ),
]
ExportTo: TypeAlias = Annotated[
    list[str] | None,
    option(
        OUTPUT,
        "Also write the run in a format of actkit export, beside it; may be repeated.",
        autocompletion=export_formats,
    ),
]
ReportToo: TypeAlias = Annotated[
    bool, option(OUTPUT, "Also write the run's page, RUN.html beside it: see actkit report.")
]
Quiet: TypeAlias = Annotated[bool, option(OUTPUT, "Print nothing but the result and errors.", "-q")]
Json: TypeAlias = Annotated[bool, option(OUTPUT, "Print one JSON object instead of the run's path.")]
