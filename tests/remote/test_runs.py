"""A finished run in a store or on a web server is read as a local one is, by the bytes that are needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actkit as api
from actkit.remote.path import RemotePath, path_of
from tests.command_line import Run
from tests.remote.conftest import Web

AT = "s3://bucket/my runs/100% ü/x"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with activations and features."""
    folder = tmp_path_factory.mktemp("remote")
    file = folder / "prompts.txt"
    file.write_text("\n".join(f"Text number {n} of some" for n in range(12)))
    out = folder / "x"
    from actkit.cli.app import main

    asked = "--layers 1,2 --sae-release tiny --sae-id blocks.2.hook_resid_post --shard-sequences 5 -q -o"
    with pytest.raises(SystemExit) as ended:
        main(["capture", str(file), *asked.split(), str(out)])
    assert ended.value.code == 0
    return out


@pytest.fixture
def stored(run: Path, s3: Any) -> str:
    for path in run.rglob("*"):
        if path.is_file():
            key = f"my runs/100% ü/x/{path.relative_to(run).as_posix()}"
            s3.put_object(Bucket="bucket", Key=key, Body=path.read_bytes())
    return AT


@pytest.fixture
def served(run: Path, web: Web) -> str:
    for path in run.rglob("*"):
        if path.is_file():
            web.files[f"/runs/my%20x/{path.relative_to(run).as_posix()}"] = path.read_bytes()
    return f"{web.url}/runs/my x"


def test_a_path_keeps_its_address() -> None:
    path = path_of(AT) / "tokens" / "part-00000.parquet"
    assert isinstance(path.parent, RemotePath) and str(path.parents[1]) == AT and path.name == "part-00000.parquet"
    assert str(path_of(Path(AT))) == AT and path.relative_to(path_of(AT)).as_posix() == "tokens/part-00000.parquet"
    assert str(path_of("s3://b/x/")) == "s3://b/x" and not isinstance(path_of("C:/x"), RemotePath)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["stored", "served", "served without ranges"])
def test_everything_that_is_read_is_the_same(
    where: str, run: Path, actkit: Run, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = request.getfixturevalue(where.partition(" ")[0])
    if "without" in where:
        request.getfixturevalue("web").ranges = False
    monkeypatch.chdir(tmp_path)
    here, there = api.open_run(run), api.open_run(at)
    assert there.tables == here.tables and there.hook_points == here.hook_points
    for name in here.tables:
        assert there.table(name).equals(here.table(name)), name
    point = here.hook_points[0]
    np.testing.assert_array_equal(there.activations(point), here.activations(point))
    assert (there.features() != here.features()).nnz == 0
    assert there["tokens"].head(2).equals(here["tokens"].head(2))

    def said(*arguments: str) -> str:
        result = actkit(*arguments)
        assert result.status == 0, result.err
        return result.out.replace(str(run), "RUN").replace(at, "RUN")

    assert said("show", at) == said("show", str(run))
    assert said("show", at, "--table", "features", "--sort=-position", "--json") == said(
        "show", str(run), "--table", "features", "--sort=-position", "--json"
    )
    assert actkit("verify", at).status == 0
    assert said("export", at, "--to", "npz").strip().endswith(".npz")
    assert said("report", at).strip().endswith(".html")
    assert actkit("export", at, "--to", "npz").status == 1  # it is there
    made = sorted(path.name for path in tmp_path.iterdir())
    assert len(made) == 2, made


@pytest.mark.slow
def test_a_look_at_a_table_fetches_its_columns_alone(stored: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    fetched = []
    real = s3fs.core.S3File._fetch_range
    monkeypatch.setattr(
        s3fs.core.S3File,
        "_fetch_range",
        lambda self, start, end: fetched.append((self.path, end - start)) or real(self, start, end),
    )
    api.open_run(stored).table("tokens", ["position"])
    assert {path.rpartition("/x/")[2].partition("/")[0] for path, _ in fetched} <= {"run.json", "tokens"}


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["500", "403", "breaks off"])
def test_a_server_that_fails_half_way_is_a_sentence(
    fails: str, served: str, web: Web, actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if fails == "breaks off":
        web.breaks_after = 3000
    else:
        parts = [name for name in web.files if "/part-00001.parquet" in name]
        web.statuses.update({name: int(fails) for name in parts})
    for more in (
        ("show", "--table", "tokens", "--sort=-position"),
        ("verify",),
        ("export", "--to", "npz"),
        ("report",),
        ("plot", "norms"),
    ):
        wrong = actkit(more[0], served, *more[1:])
        assert wrong.status == 1 and "Traceback" not in wrong.err, (more, wrong.err)
        assert more[0] == "verify" or ("error: " in wrong.err and "hint: " in wrong.err), (more, wrong.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_damage_and_absence_are_sentences(stored: str, s3: Any, actkit: Run) -> None:
    s3.put_object(Bucket="bucket", Key="my runs/100% ü/x/tokens/part-00001.parquet", Body=b"PAR1")
    result = actkit("verify", stored)
    assert result.status == 1 and "tokens/part-00001.parquet" in result.out + result.err
    for command in ("show", "verify", "report", "view"):
        result = actkit(command, "s3://bucket/nothing here")
        assert result.status == 1 and "s3://bucket/nothing here: no finished run" in result.err, result.err
        assert "Traceback" not in result.err
    result = actkit("show", "s3://bucket/my runs/100% ü")
    assert result.status == 1 and "holds one" in result.err, result.err
