"""What sentences tell somebody to type is there: every option and every command that the package's texts name."""

import ast
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import actkit
from actkit import errors
from actkit.cli.app import application
from actkit.docs import pages

PACKAGE = Path(actkit.__file__).parent
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*[a-z0-9]|[a-z])(?![\w-])")
COMMAND = re.compile(r"\bactkit ([a-z][a-z-]*)((?:[^.;,()`\n]|(?<! )[.,](?! |$))*)")
"""A command, and what follows in the sentence."""
OF_OTHERS = {
    "slurm": {
        "array",
        "dependency",
        "gres",
        "job-name",
        "parsable",
        "requeue",
        "time",
        "wrap",
        "output",
        "exclusive",
        "ntasks",
    },
    "pip": {"force-reinstall", "upgrade", "extra-index-url", "python"},
}
"""Options of other programs that sentences name."""
OF_ANOTHER_TIME = {"changes", "older-scripts", "developing"}
"""Pages that name what was, what other scripts have, and a command that is made there."""
SAYS = re.compile(
    "(?:and|from|it|that|was|ha(?:s|ve)|made|wrote|(?:encode|expect|keep|know|load|make|read|see|store|use|write)s|does)$"
)
"""What follows where actkit is what a sentence is about."""
GROUP: Any = typer.main.get_command(application(()))
OPTIONS: dict[str, set[str]] = {
    name: {flag.removeprefix("--") for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    | {"help", "help-all"}
    for name, command in GROUP.commands.items()
}
OPTIONS["sbatch"] |= OF_OTHERS["slurm"].union(*OPTIONS.values())  # those of Slurm, and of the command that it submits
EVERY: set[str] = set().union(*OPTIONS.values(), {"version", "verbose", "profile", "log-level"})


RECIPES = ("dpo", "capture", "concept", "sae-extract", "feature-dataset", "reward-detect")


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string of a module, `…` for what is put into it."""
    inside: set[int] = set()
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node) if part is not node}
            pieces = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield node.lineno, "".join(map(str, pieces))
    yield from (
        (node.lineno, node.value)
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside
    )


def wrong_in(text: str, options: set[str]) -> list[str]:
    """Options and commands that a text names and there are not."""
    found = [f"--{name}" for name in OPTION.findall(text) if name not in options]
    for name, rest in COMMAND.findall(text):
        if name not in OPTIONS:
            found += [] if SAYS.match(name) else [f"actkit {name}"]
        else:
            found += [f"actkit {name} --{flag}" for flag in OPTION.findall(rest) if flag not in OPTIONS[name]]
    return found


def test_what_is_not_there_is_noticed() -> None:
    assert wrong_in("try --no-such-thing, or actkit sho RUN", EVERY) == ["--no-such-thing", "actkit sho"]
    assert wrong_in("actkit show RUN --table T, actkit reads it; actkit show RUN --positive x", EVERY) == [
        "actkit show --positive"
    ]


def test_every_option_and_command_that_a_sentence_names_is_there() -> None:
    allowed = EVERY | OF_OTHERS["slurm"] | OF_OTHERS["pip"]
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "recipe" in path.parts:  # how the bundled model was trained: programs of their own
            continue
        for line, text in texts_of(path):
            wrong += [f"{path.relative_to(PACKAGE)}:{line}: {name}" for name in wrong_in(text, allowed)]
    assert wrong == []


@pytest.mark.parametrize("name", RECIPES)
def test_sentences_of_a_command_name_its_own_options(name: str) -> None:
    path = PACKAGE / f"recipes/{name.replace('-', '_')}.py"
    wrong = [
        f"{line}: {wrong}"
        for line, text in texts_of(path)
        for wrong in wrong_in(text, OPTIONS[name])
        if not any(other in text for other in (f"actkit {called}" for called in OPTIONS if called != name))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(pages().keys() - OF_ANOTHER_TIME))
def test_every_option_that_a_page_names_is_there(name: str) -> None:
    text = pages()[name].read_text(encoding="utf-8")
    own = re.sub(
        r"^(?:python -m|pip|curl|ssh) .*$|`(?:python -m|pip|uvx|curl|ssh|srun|#SBATCH)\s[^`]*`", "", text, flags=re.M
    )
    wrong = [f"--{flag}" for flag in OPTION.findall(own) if flag not in EVERY | OF_OTHERS["slurm"]]
    assert wrong + [wrong for line in re.findall(r"`(actkit [^`]*)`", own) for wrong in wrong_in(line, EVERY)] == []


def test_extras_that_sentences_name_are_there_and_install_beside_actkit(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shell that finds another Python, or in an environment of uv's, `pip install` put them elsewhere."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [path.read_text(encoding="utf-8") for path in (*PACKAGE.rglob("*.py"), *pages().values())]
    named = {name for text in texts for name in re.findall(r"actkit\[(\w+)\]", text)}
    assert named == project["optional-dependencies"].keys() - {"dev"}
    monkeypatch.setattr("shutil.which", lambda _name: str(Path(sys.executable).parent / "python"))
    assert errors.pip_install("x") == "pip install x" and errors.own_python() == "python"
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/python")
    monkeypatch.setattr(errors, "find_spec", lambda _name: object())
    assert errors.pip_install("x") == f"{shlex.quote(sys.executable)} -m pip install x"
    monkeypatch.setattr(errors, "find_spec", lambda _name: None)
    assert str(errors.UsageError("no", f"{errors.pip_install('--upgrade x')} or --device cpu")).endswith(
        f" --python {shlex.quote(sys.executable)} --upgrade x or device cpu"
    )
    assert errors.pip_install("x") == f"uv pip install --python {shlex.quote(sys.executable)} x"
