"""Every module that decides something has a test of its own: one that imports it by its name, or is called as it is."""

import ast
import re
from pathlib import Path

from actkit.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
DECIDES = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.Match, ast.BoolOp, ast.comprehension)
IMPORT = re.compile(r"^[ \t]*((?:from actkit[.\w]* import (?:\([^)]*\)|.+))|import actkit.*)$", re.MULTILINE)
"""A statement; each is read by Python itself, which would take seconds for all of the tests."""
ELSEWHERE = {
    "actkit.__main__": "one line; every test that starts a process runs it",
}
"""Modules, and packages of them, without a test of their own → why."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def decides(path: Path) -> bool:
    """Whether something is decided, or gone over, in a module."""
    return any(isinstance(node, DECIDES) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(text: str) -> set[str]:
    """What a test imports of actkit: modules, and names that may be modules. A name within a text does not count."""
    named: set[str] = set()
    for (node,) in (ast.parse(statement).body for statement in IMPORT.findall(text)):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return named


def lacking(texts: dict[Path, str]) -> list[str]:
    """Modules that decide something and have no test of their own; `texts` are the tests."""
    tested = {name for text in texts.values() for name in imported(text)}
    for path in texts:  # tests/export/test_hdf5.py is of actkit.export.hdf5
        folder = path.relative_to(ROOT / "tests").parent
        tested.add(".".join(("actkit", *folder.parts, path.stem.removeprefix("test_"))))
    for name in COMMANDS:  # a command is run by its name, the first word of what a test calls
        if any(re.search(rf'[(\[]\s*"{name}"', text) for text in texts.values()):
            tested.add(f"actkit.cli.commands.{name.replace('-', '_')}")
    modules = (path for path in (ROOT / "actkit").rglob("*.py") if path.name != "__init__.py")
    return sorted(name_of(path) for path in modules if name_of(path) not in tested and decides(path))


def sources() -> dict[Path, str]:
    paths = (path for path in (ROOT / "tests").rglob("*.py") if "benchmarks" not in path.parts)
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_every_module_that_decides_something_has_a_test_of_its_own() -> None:
    found = lacking(sources())
    unknown = [name for name in found if not any(f"{name}.".startswith(f"{known}.") for known in ELSEWHERE)]
    assert unknown == [], "each needs tests/PACKAGE/test_MODULE.py, or a test that imports it by its name"
    assert all(any(f"{name}.".startswith(f"{known}.") for name in found) for known in ELSEWHERE), (
        "and no more is excused"
    )


def test_a_module_whose_test_goes_is_found() -> None:
    texts = {path: text for path, text in sources().items() if path.name not in ("test_thrift.py", "test_age.py")}
    assert "actkit.runs.thrift" in lacking(texts)
    assert imported("import actkit.a\nfrom actkit.b import (\n    c,\n    d as e,\n)\n") == {
        *("actkit.a", "actkit.b", "actkit.b.c", "actkit.b.d")
    }
    assert imported('patch.setattr("actkit.runs.thrift.Compact", None)\n') == set()
