"""What reads a finished run, and what is made from one, wherever the run is; and every command's run in a store."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from actkit.report.live import LiveRun
from actkit.runs.run import open_run
from tests.command_line import Run
from tests.conftest import Single
from tests.engines.runs import COMMANDS, SMALL, parts, write_inputs
from tests.remote.conftest import TOKEN, Web, hub_of, other_store

pytestmark = pytest.mark.slow
WHERE = "my runs/100% ü+/x"
Placed = Callable[[Path], str]


@pytest.fixture(params=["s3", "gs", "az", "https", "https without ranges", "hf"])
def placed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run's directory → its address, in a store of each kind."""

    def files_of(run: Path) -> dict[str, bytes]:
        return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}

    kind = request.param
    with ExitStack() as stack:
        if kind == "s3":
            s3 = request.getfixturevalue("s3")

            def place(run: Path) -> str:
                for name, data in files_of(run).items():
                    s3.put_object(Bucket="bucket", Key=f"{WHERE}/{name}", Body=data)
                return f"s3://bucket/{WHERE}"

        elif kind in ("gs", "az"):
            store = stack.enter_context(other_store(kind, monkeypatch))

            def place(run: Path) -> str:
                store.objects.update({f"{WHERE}/{name}": data for name, data in files_of(run).items()})
                return store.at(WHERE)

        elif kind == "hf":
            hub = stack.enter_context(hub_of(monkeypatch))

            def place(run: Path) -> str:
                hub.repos["me/x"] = files_of(run)
                return "hf://datasets/me/x"

        else:
            web: Web = request.getfixturevalue("web")
            web.ranges = kind == "https"

            def place(run: Path) -> str:
                web.files.update({f"/runs/x/{name}": data for name, data in files_of(run).items()})
                return f"{web.url}/runs/x"

        yield place


def test_whatever_reads_a_run_says_the_same_of_it(
    placed: Placed, six_runs: Mapping[str, Path], actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(six_runs["concept"], "x")
    at = placed(six_runs["concept"])

    def said(*arguments: str) -> str:
        done = actkit(*arguments)
        assert done.status == 0, done.err
        return done.out.replace(at, "RUN")

    for more in (("show",), ("show", "--table", "directions"), ("show", "--sequence", "1")):
        command, *options = more
        there, here = said(command, at, *options), said(command, "x", *options)
        assert there == here.replace(" x/", " RUN/").replace("x: ", "RUN: ").replace('"x"', '"RUN"'), more
    said("verify", at)
    for command, options in (("export", ("--to", "npz")), ("plot", ("layers",)), ("report", ())):
        said(command, at, *options, "-o", f"there-{command}.html" if command != "export" else "there.npz")
        said(command, "x", *options, "-o", f"here-{command}.html" if command != "export" else "here.npz")
    assert Path("there.npz").read_bytes() == Path("here.npz").read_bytes()
    assert Path("there-plot.html").stat().st_size == Path("here-plot.html").stat().st_size
    views = [LiveRun(open_run(run)) for run in (at, "x")]
    for view in views:
        view.prepare()
    assert views[0].sequence(1) == views[1].sequence(1) and views[0].index.keys() == views[1].index.keys()
    for command in (
        ("concept", "--seed", "3", "-q", "-o", "again"),
        ("steer", "--layers", "2", "--strengths", "1", "--random", "2", "-q", "-o", "steered"),
    ):
        run = ["--from"] if command[0] == "concept" else []
        said(command[0], *run, at, *command[1:])
        said(command[0], *run, "x", *command[1:-1], f"{command[-1]}-here")
        runs = [open_run(name) for name in (command[-1], f"{command[-1]}-here")]
        assert runs[0].tables == runs[1].tables
        for table in runs[0].tables:  # where the texts of `steer` come from is the run
            there, here = (run.table(table) for run in runs)
            kept = [name for name in here.column_names if name != "source"]
            assert there.select(kept).equals(here.select(kept)), table
    assert said("merge", at) == "RUN\n", "it is merged"
    wrong = actkit("push", at, "hf://datasets/me/y")
    assert wrong.status == 2 and "is not on this machine" in wrong.err and "Traceback" not in wrong.err, wrong.err
    assert TOKEN not in "".join(path.read_text("utf-8", "ignore") for path in tmp_path.rglob("*.*") if path.is_file())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_writes_the_run_of_one_process_to_a_store(
    command: str, single: Single, s3: Any, actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTKIT_STAGING", str(tmp_path / "staging"))
    write_inputs(tmp_path, single("concept") if command == "steer" else None)
    made = actkit(*COMMANDS[command], *SMALL, "-o", "s3://bucket/a b/x")
    assert (made.status, made.out) == (0, "s3://bucket/a b/x\n"), made.err
    rows = s3.list_objects_v2(Bucket="bucket", Prefix="a b/x/")["Contents"]
    found = {row["Key"][6:]: s3.get_object(Bucket="bucket", Key=row["Key"])["Body"].read() for row in rows}
    expected = single(command)
    assert {name: data for name, data in found.items() if name.endswith(".parquet")} == parts(expected)
    assert set(found) == {path.relative_to(expected).as_posix() for path in expected.rglob("*") if path.is_file()}
