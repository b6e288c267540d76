"""The developers' page: what it says to add is added, word for word, and works; the tree is the one that there is."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

import actkit

PACKAGE = Path(actkit.__file__).parent
PAGE = (PACKAGE / "docs" / "developing.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"```py\n# (new file|in|at the end of) (\S+)(?: (after|before|in place of) `([^`]+)`)?\n(.*?)```", re.DOTALL
)

BINDS_ONE = re.compile(
    r"\bfor\b[^:]*\bone\b[^:]* in |\bone\b *(?:: [^=\n]+)?:?=|\bas one\b|\n *one:|(?:lambda|def)\b[^\n]*\bone\b"
)
"""A text in which a name might be `one`; reading it as Python tells."""


def followed(root: Path) -> None:
    """A copy of the package in `root`, with every block of the page where the page says."""
    shutil.copytree(PACKAGE, root / "actkit", ignore=shutil.ignore_patterns("bundled", "__pycache__"))
    (root / "actkit" / "bundled").symlink_to(PACKAGE / "bundled")
    for how, name, where, line, text in BLOCK.findall(PAGE):
        path = root / name
        if how == "new file":
            assert not path.exists(), name
            path.write_text(text, encoding="utf-8")
            continue
        old = path.read_text(encoding="utf-8")
        if how == "at the end of":
            path.write_text(old + text, encoding="utf-8")
            continue
        assert old.count(f"{line}\n") == 1, f"{name} has no line, or several: {line}"
        new = {"after": f"{line}\n{text}", "before": f"{text}{line}\n", "in place of": text}[where]
        path.write_text(old.replace(f"{line}\n", new), encoding="utf-8")


def test_every_block_of_the_page_says_where_it_goes() -> None:
    assert len(BLOCK.findall(PAGE)) == PAGE.count("```py\n") > 10


def test_every_line_where_something_goes_is_there_once() -> None:
    for _, name, _, line, _ in BLOCK.findall(PAGE):
        if line:
            assert (PACKAGE.parent / name).read_text(encoding="utf-8").count(f"{line}\n") == 1, (name, line)


def test_a_command_takes_four_files() -> None:
    section = PAGE.partition("## Add a command")[2].partition("\n## ")[0]
    assert len({name for _, name, *_ in BLOCK.findall(section)}) == 4


def test_the_tree_names_every_package_and_module_at_the_top() -> None:
    named = set(re.findall(r"^[├└]── (\S+)", PAGE, re.MULTILINE))
    there = {f"{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    there |= {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert named == there | {"presets/"}


def test_the_lines_of_what_a_library_nearly_does_are_about_those_that_there_are() -> None:
    table = PAGE.partition("although a library does nearly the same")[2]
    rows = re.findall(r"^\| (`.+?`) \| (\d+) \|", table, re.MULTILINE)
    for pieces, lines in rows:
        names = [name.rpartition("/")[2] for name in re.findall("`(.+?)`", pieces)]
        files = [path for name in names for path in PACKAGE.rglob(f"{name}.py") if "recipes" not in path.parts]
        there = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
        assert abs(there - int(lines)) <= 0.1 * there, (pieces, there)
    assert len(rows) == 7


def test_every_place_that_the_page_names_is_there() -> None:
    for path, name in re.findall(r"`(\w[\w/]*\.py):(\w+(?:\.\w+)?)`", PAGE):
        text = (PACKAGE / path).read_text(encoding="utf-8")
        assert re.search(rf"\b(def|class) {name.rpartition('.')[2]}\b", text), f"{path}: {name}"


def test_every_line_that_is_added_has_its_place() -> None:
    table = PAGE.partition("## Where to add what")[2].partition("\n## ")[0]
    places = re.findall(r"`(\w+)` of `([\w/]+\.py)`", table)
    assert len(places) >= 8
    for name, path in places:
        assert re.search(rf"^(def |class )?{name}\b", (PACKAGE / path).read_text(encoding="utf-8"), re.MULTILINE), (
            name,
            path,
        )
    for path in ("plots/dpo", "presets"):
        assert (PACKAGE / path).is_dir()


@pytest.mark.slow
def test_what_the_page_says_to_add_works(tmp_path: Path) -> None:
    followed(tmp_path)
    (tmp_path / "in.kv").write_text("prompt=One colour=red\nprompt=Two\n", encoding="utf-8")
    (tmp_path / "in.txt").write_text("One two.\nThree.\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "actkit", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("norms", "in.txt", "--layers", "1,2", "-o", "norms", "-q")
    table = pd.read_parquet(tmp_path / "norms" / "norms")
    assert len(table) == 4 and sorted(set(table["layer"])) == [1, 2] and (table["norm"] > 0).all()
    config = (tmp_path / "norms" / "config.yaml").read_text(encoding="utf-8")
    assert "command: norms\n" in config and "texts: in.txt\n" in config
    call("verify", "norms", "-q")
    assert "length of the last token's vector" in call("plot", "norms")
    call("plot", "norms", "layers", "-o", "norms.html")
    assert "How long last tokens are" in (tmp_path / "norms.html").read_text(encoding="utf-8")
    call("capture", "in.kv", "--layers", "1", "-o", "kv", "--export", "txt", "-q")
    assert (tmp_path / "kv.txt").read_text(encoding="utf-8") == "One\nTwo\n"
    rows = pd.read_parquet(tmp_path / "kv" / "layer_stats")
    assert (rows["range"] == rows["max"] - rows["min"]).all()
    assert "range" in call("schema", "layer_stats")
    assert json.loads((tmp_path / "kv" / "run.json").read_text())["exports"][-1] == "safetensors"
    call("capture", "in.txt", "--backend", "toy", "--layers", "0-2", "--verify", "2", "-o", "toy", "-q")
    facts = json.loads((tmp_path / "toy" / "run.json").read_text())
    assert facts["model"]["backend"] == "ToyModel" and facts["options"]["backend"] == "toy"
    assert facts["verify"]["records"] == 2 and len(facts["verify"]["hook_points"]) == 3


def test_nothing_below_the_recipes_compares_the_name_of_a_command() -> None:
    """What depends on the command stands in its recipe, and `run.json` keeps it; else a new one opens more files."""
    names = re.compile(r"\"(?:dpo|capture|concept|sae-extract|feature-dataset|reward-detect|steer)\"")
    compared = []
    for package in ("analysis", "backends", "export", "pipeline", "plots", "remote", "report", "runs", "verify"):
        for path in (PACKAGE / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if names.search(text):
                found = [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Compare)]
                compared += [(path.name, test) for test in found if names.search(test.replace("'", '"'))]
    assert compared == []


def test_pipeline_and_cli_are_seen_at_a_glance() -> None:
    for package, most in (("pipeline", 20), ("cli", 20)):
        assert len([path for path in (PACKAGE / package).iterdir() if path.name != "__pycache__"]) <= most


def test_every_trap_has_a_test_that_is_there() -> None:
    tests = Path(__file__).parent
    rows = re.findall(r"^\| ([\d, ]+) \|.*\| (.*) \|$", (tests / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    numbers = [int(number) for numbers, _ in rows for number in numbers.split(", ")]
    assert sorted(numbers) == list(range(1, 55))
    assert [path for _, paths in rows for path in re.findall(r"`([^`]+)`", paths) if not (tests / path).exists()] == []


def test_no_name_is_one() -> None:
    """A loop over records binds `record`, and so on: a name says what it stands for. `one` was bound 1,399 times."""
    bound = []
    for path in (*PACKAGE.rglob("*.py"), *Path(__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if BINDS_ONE.search(text):
            named = (getattr(node, "arg", None) or _stored(node) for node in ast.walk(ast.parse(text)))
            bound += [path.name for name in named if name == "one"]
    assert bound == []


def test_a_class_has_a_name_of_its_own() -> None:
    texts = (path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    names = Counter(name for text in texts for name in re.findall(r"^\s*class (\w+)[:(]", text, re.MULTILINE))
    assert [name for name, n in names.items() if n > 1] == ["Run"]


def _stored(node: ast.AST) -> str | None:
    """The name that a node binds."""
    if isinstance(node, ast.Name):
        return node.id if isinstance(node.ctx, ast.Store) else None
    return getattr(node, "name", None) or getattr(node, "asname", None)
