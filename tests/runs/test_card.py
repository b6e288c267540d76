"""A run's card: `datasets` loads each table by its name, and what a person wrote into a card is never removed."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from actkit.runs.card import ABOUT, card, is_own
from actkit.runs.facts import facts_of
from actkit.runs.run import open_run
from actkit.schemas import TABLES
from tests.command_line import Run
from tests.six_runs import COMMANDS as SIX


@pytest.fixture
def run(actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("texts with blanks.txt").write_text("One text.\nAnother one, longer.\n\n")
    sae = ("--sae-release", "tiny", "--sae-id", "blocks.2.hook_resid_post")
    layers = ("--layers", "1", "--shard-sequences", "1")
    assert actkit("capture", "texts with blanks.txt", *layers, *sae, "-o", "runs/x", "-q").status == 0
    rejected = [pq.read_metadata(part).num_rows for part in sorted(Path("runs/x/rejected").iterdir())]
    assert rejected == [0, 1], "a part without rows beside one with rows, which datasets must read"
    return Path("runs/x")


@pytest.mark.slow
def test_datasets_loads_every_table_of_a_run_and_verify_knows_the_card(run: Path, actkit: Run, tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    cache = str(tmp_path / "cache")
    for table in open_run(run).tables:
        found = datasets.load_dataset("runs/x", table, cache_dir=cache)
        rows = open_run(run).table(table).to_pylist()
        assert list(found) == ["train"] and len(found["train"]) == len(rows), table
        if table != "activations":
            assert found["train"].to_list() == rows, table
    assert datasets.load_dataset("runs/x", cache_dir=cache)["train"].column_names[0] == "sequence_id"
    assert actkit("verify", run).status == 0
    (run / "README.md").write_text((run / "README.md").read_text() + "mine")
    result = actkit("verify", run)
    assert result.status == 1 and "README.md" in result.out + result.err


@pytest.mark.slow
@pytest.mark.parametrize("command", SIX)
def test_datasets_loads_every_table_of_every_command(
    command: str, six_runs: Mapping[str, Path], tmp_path: Path
) -> None:
    """Of the run as it is, and of what is pushed, which has another card."""
    import datasets

    datasets.disable_progress_bars()
    run = six_runs[command]
    pushed = tmp_path / "pushed"
    shutil.copytree(run, pushed)
    (pushed / "README.md").write_text(card(facts_of(run), "mit", "me/x"))
    for table, about in facts_of(run)["tables"].items():
        if about["rows"]:
            expected = open_run(run).table(table)
            for where in (run, pushed):
                found = datasets.load_dataset(str(where), table, cache_dir=str(tmp_path / "cache"))["train"]
                rows = found.with_format("arrow")[:]
                assert len(found) == about["rows"] and found.column_names == expected.column_names
                assert rows.to_pylist() == expected.to_pylist(), table


def test_a_card_says_what_the_run_is_and_states_no_licence(run: Path) -> None:
    text = (run / "README.md").read_text()
    for part in (
        "`tiny`",
        "tiny/blocks.2.hook_resid_post",
        "4,096 features",
        "2 were used, 1 were not",
        "prompts texts with blanks.txt",
        "layers 1",
        "None is stated here",
    ):
        assert part in text, part
    assert text == card(facts_of(run)) and "license:" not in text and str(run.absolute()) not in text
    assert 'license: "cc-by-4.0"' in card(facts_of(run), "cc-by-4.0")
    assert set(ABOUT) == set(TABLES)


def test_whatever_a_model_is_called_the_front_matter_is_yaml(run: Path) -> None:
    import yaml

    facts = facts_of(run)
    name = 'a: "b" # c\n---\n`|é\u2028 {x}'
    text = card({**facts, "model": {**facts["model"], "name": name}})
    about = yaml.safe_load(text.split("---\n")[1])
    assert about["pretty_name"] == f"actkit capture with {name}"
    assert [config["config_name"] for config in about["configs"]] == list(facts["tables"])


def test_a_card_with_a_person_s_words_is_not_removed(run: Path, actkit: Run) -> None:
    again = ("capture", "texts with blanks.txt", "--layers", "1", "-o", "runs/x", "-q", "--overwrite")
    assert is_own(run / "README.md") and actkit(*again).status == 0
    changed = (run / "README.md").read_text().replace("## Licence", "## Licence\n\nMine.")
    (run / "README.md").write_text(changed)
    result = actkit(*again)
    assert result.status == 1 and "holds README.md, which is not actkit's" in result.err
    assert (run / "README.md").read_text() == changed
