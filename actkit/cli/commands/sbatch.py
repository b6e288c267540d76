"""`actkit sbatch`."""

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from actkit.cli.options.groups import OUTPUT, option, with_option_groups
from actkit.errors import UsageError

NOT_HERE = ("--shard", "--plan", "--resume", "--json")
WHOLE = ("--export", "--report")
"""Options that are about the whole run: they go to the line that merges."""


@with_option_groups
def sbatch(
    context: typer.Context,
    tasks: Annotated[int, option(OUTPUT, "Tasks of the array; each loads the model.", "-n", min=1)] = 4,
    slurm: Annotated[str, option(OUTPUT, "Options for sbatch, such as '--gres=gpu:1 --time=4:00:00'.")] = "",
) -> None:
    """Print a script that runs a command as an array of Slurm's, and merges its shares once all tasks have ended well.

    What comes after the options is the command line of any command that makes a run, with its --out.

    Example: [b]actkit sbatch -n 16 --slurm '--gres=gpu:1' dpo pairs.jsonl -o runs/x | bash[/]
    """
    words = list(context.args)
    group = context.parent.command if context.parent else None
    names = [name for name in words[:1] if group is not None and group.get_command(context.parent, name)]  # type: ignore[attr-defined]
    if not names:
        raise UsageError("no command to run", "actkit sbatch -n 16 dpo pairs.jsonl -o runs/x")
    for word in words:
        if word.partition("=")[0] in NOT_HERE:
            raise UsageError(f"{word}: the script says that itself", "leave it out")
    if "-" in words[1:]:
        raise UsageError("standard input cannot be read by several tasks", "put it into a file that all of them see")
    out = _value(words, ("--out", "-o", "--output", "--output-dir"))
    if out is None:
        raise UsageError("the command has no --out", "give -o, a folder that all nodes see, such as -o runs/x")
    own, whole = _divided(words)
    job = shlex.quote(f"actkit-{words[0]}-{Path(out).name}")
    options = f" {slurm.strip()}" if slurm.strip() else ""
    # Tasks that begin at different moments must give a chat template the same date.
    date = [] if _value(words, ("--date",)) else ["--date", datetime.now().replace(microsecond=0).isoformat()]
    each = shlex.join(["actkit", *own, *(date if words[0] != "steer" else ()), "--shard", "auto", "--resume"])
    merge = shlex.join(["actkit", "merge", out, *whole])
    sys.stdout.write(
        f"""#!/usr/bin/env bash
# {tasks} tasks, each with a share of the shards; one that ends early goes on where it stopped. Then the whole run.
set -euo pipefail
array=$(sbatch --parsable --requeue --job-name={job} --array=0-{tasks - 1}{options} --wrap={shlex.quote(each)})
sbatch --job-name={job}-merge --dependency=afterok:"$array"{options} --wrap={shlex.quote(merge)}
"""
    )


def _value(words: list[str], names: tuple[str, ...]) -> str | None:
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else (words[at + 1] if at + 1 < len(words) else None)
    return None


def _divided(words: list[str]) -> tuple[list[str], list[str]]:
    """Divide the words into those for each task and those for the whole run."""
    own: list[str] = []
    whole: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.partition("=")[0] not in WHOLE:
            own.append(word)
            continue
        whole.append(word)
        if word == "--export":
            whole += [value for value in [next(rest, None)] if value is not None]
    return own, whole
