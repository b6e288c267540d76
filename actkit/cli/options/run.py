"""The options of what is read, how much at once, and where the run goes."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from actkit.cli.options.config_file import load_config
from actkit.cli.options.groups import BATCH, OUTPUT, READ, at_home, export_formats, hidden, option
from actkit.config import Bos, OnBadRecord

InputAlias: TypeAlias = Annotated[str | None, hidden("--input", "--data", callback=at_home)]
MaxSamples: TypeAlias = Annotated[
    int | None,
    option("--max-samples", "--max-examples", panel=READ, min=1, help="Read no more than this many records."),
]
Split: TypeAlias = Annotated[
    str, option("--split", panel=READ, help="Which split of a dataset, or of a file or folder that has several.")
]
Columns: TypeAlias = Annotated[
    str | None,
    option(
        "--columns",
        panel=READ,
        help="Names for the columns of a CSV or TSV file without a header line, such as text,label,id.",
    ),
]
MaxLength: TypeAlias = Annotated[
    int | None,
    option("--max-length", panel=READ, min=1, help="Most tokens a sequence; the model's context by default."),
]
LeadingBos: TypeAlias = Annotated[
    Bos, option("--bos", panel=READ, help="Leading BOS of plain text; auto leaves it to the tokenizer.")
]
Date: TypeAlias = Annotated[
    str | None,
    option(
        "--date",
        panel=READ,
        help="What a chat template that asks for the date is told, such as 2026-11-27; when the run begins by default.",
    ),
]
Chat: TypeAlias = Annotated[
    bool | None, option("--chat/--no-chat", panel=READ, help="Use the model's chat template; by default if it has one.")
]
BadRecords: TypeAlias = Annotated[
    OnBadRecord,
    option(
        "--on-bad-record", panel=READ, help="skip lists bad records in the table rejected; fail stops at the first."
    ),
]
BatchTokens: TypeAlias = Annotated[
    int,
    option(
        "--batch-tokens", panel=BATCH, min=1, help="Most tokens in one forward pass, padding included; changes no row."
    ),
]
Out: TypeAlias = Annotated[
    Path | None,
    option(
        "--out", "-o", panel=OUTPUT, help="Directory of the run; runs/<command>-<time> by default.", callback=at_home
    ),
]
Overwrite: TypeAlias = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace an existing run.")]
Resume: TypeAlias = Annotated[
    bool, option("--resume", panel=OUTPUT, help="Continue an unfinished run after its last finished shard.")
]
Share: TypeAlias = Annotated[
    str | None,
    option(
        "--shard",
        panel=OUTPUT,
        metavar="I/N",
        help="Be task I (from 0) of N that compute the run together; then: actkit merge. Or auto: the task that a "
        "scheduler says; without one, the whole run with a process a GPU.",
        show_default=False,
    ),
]
EngineName: TypeAlias = Annotated[
    str | None,
    option(
        "--engine",
        panel=OUTPUT,
        metavar="ray[:ADDRESS]",
        help="Share the run out among workers of a Ray cluster, or of this machine.",
    ),
]
WorkerCount: TypeAlias = Annotated[
    int | None,
    option(
        "--workers",
        panel=OUTPUT,
        min=1,
        help="With --engine and --shard auto: how many, if not one a GPU, or for --engine without one, one a CPU.",
        show_default=False,
    ),
]
PlanOnly: TypeAlias = Annotated[
    bool,
    option("--plan", panel=OUTPUT, help="Read and tokenize only; print what the run would be, and write nothing."),
]
Verify: TypeAlias = Annotated[
    int,
    option(
        "--verify",
        panel=OUTPUT,
        min=0,
        help="Compute so many of the first records again on the plain Hugging Face model, and stop if the numbers "
        "differ by more than rounding.",
    ),
]
Profile: TypeAlias = Annotated[
    bool, option("--profile", panel=OUTPUT, help="Print where the time went; run.json has it in any case.")
]
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
        "--export",
        panel=OUTPUT,
        help="Also write the run in a format of actkit export, beside it; may be repeated.",
        autocompletion=export_formats,
    ),
]
ReportToo: TypeAlias = Annotated[
    bool, option("--report", panel=OUTPUT, help="Also write the run's page, RUN.html beside it: see actkit report.")
]
Quiet: TypeAlias = Annotated[
    bool, option("--quiet", "-q", panel=OUTPUT, help="Print nothing but the result and errors.")
]
Json: TypeAlias = Annotated[
    bool, option("--json", panel=OUTPUT, help="Print one JSON object instead of the run's path.")
]
