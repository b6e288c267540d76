"""Options: paths under the home directory, what contradicts what, and what a newcomer reads in `--help`."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from actkit.bundled import TINY
from actkit.cli.app import _leave, application
from actkit.cli.signals import ARGUMENTS
from tests.command_line import Run

SMALL = ("--layers", "0", "--positions", "last")


@pytest.fixture
def actkit(actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call the command line in an empty directory beside an empty home."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("ACTKIT_")]:
        monkeypatch.delenv(name)
    return actkit


def test_a_tilde_is_the_home_directory_wherever_a_path_is_given(actkit: Run) -> None:
    """In quotes, after `=` and in files of options no shell sees to it; a directory `~` invites `rm -r ~`."""
    home = Path.home()
    (home / "p.txt").write_text("One.\n")
    (home / "c.yaml").write_text("prompts: ~/p.txt\nout: ~/x\nlayers: 0\n")
    assert actkit("capture", "--config", "~/c.yaml", "-q") == (0, f"{home}/x\n", "")
    assert actkit("capture", "~/p.txt", "--out=~/y", "-q", *SMALL) == (0, f"{home}/y\n", "")
    assert actkit("capture", "--input", "~/p.txt", "--output", "~/z", "-q", *SMALL) == (0, f"{home}/z\n", "")
    assert actkit("verify", "~/x", "-q")[0] == 0
    assert actkit("show", "~/x", "--json")[1].startswith("{")
    assert actkit("export", "~/x", "--to", "npz", "-o", "~/x.npz", "-q") == (0, f"{home}/x.npz\n", "")
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("dpo", "~/nothing"),
        ("concept", "~/nothing.jsonl"),
        ("sae-extract", "~/nothing"),
        ("feature-dataset", "~/nothing.txt"),
        ("reward-detect", "~/nothing"),
        ("capture", "-p", "x", "-m", "~/nothing"),
        ("capture", "-p", "x", "--sae", "~/nothing"),
    ],
    ids=" ".join,
)
def test_every_command_looks_in_the_home_directory(actkit: Run, arguments: tuple[str, ...]) -> None:
    status, _, err = actkit(*arguments)
    assert status == 1 and str(Path.home() / "nothing") in err


def test_a_prompt_with_a_tilde_is_a_prompt(actkit: Run) -> None:
    assert actkit("capture", "-p", "~/x", "-o", "~x", "-q", *SMALL) == (0, "~x\n", "")
    assert yaml.safe_load(Path("~x/config.yaml").read_text())["prompt"] == ["~/x"]


@pytest.mark.parametrize(("model", "what"), [("tiny", "tiny is bundled"), (str(TINY), "is a directory")])
def test_a_revision_of_what_has_none_is_refused(actkit: Run, model: str, what: str) -> None:
    status, _, err = actkit("capture", "-p", "x", "-o", "x", "-m", model, "--revision", "v2", *SMALL)
    assert status == 2 and err.startswith("error: --revision v2: ") and what in err
    assert not list(Path().iterdir())


def test_an_option_about_saes_without_one_is_said_to_do_nothing(actkit: Run) -> None:
    status, _, err = actkit("capture", "-p", "x", "-o", "x", "--top-k", "5", *SMALL)
    assert status == 0 and "warning: --top-k 5 does nothing without an SAE" in err
    assert actkit("capture", "-p", "x", "-o", "y", "--top-k", "5", "-q", *SMALL) == (0, "y\n", "")
    for more in ((), ("--top-k", "5", "--target-layer", "2")):
        assert "does nothing" not in actkit("capture", "-p", "x", "-o", "z", "--overwrite", *more, *SMALL)[2]


def test_a_system_message_needs_the_template_that_was_forbidden(actkit: Run) -> None:
    status, _, err = actkit("capture", "-p", "x", "-o", "x", "--no-chat", "--system", "Be brief.", *SMALL)
    assert status == 2 and "--no-chat and --system were both given" in err
    # A run's config.yaml says chat: false beside its system message, and runs.
    assert actkit("capture", "-p", "x", "-o", "x", "-q", "--system", "Be brief.", *SMALL)[0] == 0
    assert actkit("capture", "--config", "x/config.yaml", "-o", "y", "-q") == (0, "y\n", "")


def test_a_list_in_a_config_file_is_what_the_flag_writes_with_commas(actkit: Run) -> None:
    Path("c.yaml").write_text("prompt: One two three.\nlayers: [0, 2]\npositions: [0, -1]\n")
    assert actkit("capture", "--config", "c.yaml", "-o", "x", "-q") == (0, "x\n", "")
    replayed = yaml.safe_load(Path("x/config.yaml").read_text())
    assert (replayed["layers"], replayed["positions"], replayed["prompt"]) == ("0,2", "0,-1", ["One two three."])


def test_hints_lead_to_what_is_there(actkit: Run) -> None:
    assert "hint: did you mean gpt2-small? There are " in actkit("capture", "-p", "x", "--preset", "gpt2")[2]
    assert "actkit saes lists" in actkit("sae-extract", "x", "-m", "gpt2")[2]


def test_every_command_shows_an_example_and_names_its_arguments_in_capitals() -> None:
    commands: Any = typer.main.get_command(application(()))
    for name, command in commands.commands.items():
        assert f"Example: [b]actkit {name} " in command.help or f"| actkit {name} " in command.help, name
        for param in command.params:
            if param.param_type_name == "argument":
                assert re.fullmatch(r"[A-Z|]+", param.metavar or ""), (name, param.name)


def test_options_about_computing_again_are_said_to_do_nothing_without_it(actkit: Run) -> None:
    """Whoever gives `--model` thinks that it was run."""
    assert actkit("capture", "-p", "x", "-o", "x", "-q", *SMALL)[0] == 0
    status, _, err = actkit("verify", "x", "--model", "nowhere", "--seed", "3")
    assert status == 0
    assert re.findall("warning: (--[a-z]+) does nothing without --recompute N or --deep", err) == ["--model", "--seed"]
    assert "does nothing" not in actkit("verify", "x", "--recompute", "1", "--seed", "3")[2] + actkit("verify", "x")[2]
    assert actkit("verify", "x", "--seed", "3", "-q") == (0, "", "")


def test_a_place_that_cannot_be_merged_into_is_said_before_anything_is_run(actkit: Run) -> None:
    variations = [{"template_type": "a", "prompt": "Hi", "response": " there"}]
    Path("in.json").write_text(json.dumps({"results": [{"question_id": 1, "variations": variations}]}))
    Path("file").touch()
    for place, why in (("file/m.json", "File exists"), (".", "Is a directory")):
        status, out, err = actkit("sae-extract", "in.json", "--merge-into", place, "-o", "x")
        assert (status, out) == (2, "") and err.startswith(f"error: --merge-into {place}: {why}\n"), err
    assert sorted(path.name for path in Path().iterdir()) == ["file", "in.json"]
    assert actkit("sae-extract", "in.json", "--merge-into", "new/m.json", "-o", "x", "-q") == (0, "x\n", "")
    assert [path.name for path in Path("new").iterdir()] == ["m.json"]


def test_choices_stand_in_one_line(actkit: Run) -> None:
    _, _, err = actkit("export", "x")
    assert err.startswith("error: Missing option '--to' / '-t'. Choose from: h5, pt, json, ") and err.count("\n") == 3
    _, _, err = actkit("export", "x", "--to", "csv")
    assert err.startswith("error: Invalid value for '--to' / '-t': 'csv' is not one of 'h5', ")


def test_a_format_is_not_written_to_standard_output(actkit: Run) -> None:
    assert actkit("capture", "-p", "x", "-o", "x", "-q", *SMALL)[0] == 0
    status, out, err = actkit("export", "x", "--to", "npz", "-o", "-")
    assert (status, out) == (2, "") and "--out -: a format is a file" in err
    assert [path.name for path in Path().iterdir()] == ["x"]


def test_an_option_means_the_same_wherever_it_is() -> None:
    """`--top-k` and `--activation-threshold` are about a token's features; reward-detect's have names of their own."""
    commands: Any = typer.main.get_command(application(()))
    said: dict[str, set[str]] = {}
    for command in commands.commands.values():
        for param in (param for param in command.params if not getattr(param, "hidden", False)):
            for flag in (flag for flag in getattr(param, "opts", ()) if flag in ("--top-k", "--activation-threshold")):
                said.setdefault(flag, set()).add(param.help.rpartition(": ")[2].capitalize())
    assert said == {
        "--top-k": {
            "Features kept of each token; 0 keeps all active.",
            "Features kept of each token; 0, the default, keeps all active.",
        },
        "--activation-threshold": {"Keep features above it; 0 keeps all active."},
    }


def test_only_commands_that_can_be_continued_say_so_when_they_are_interrupted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands: Any = typer.main.get_command(application(()))
    for name, command in commands.commands.items():
        continues = any("--resume" in getattr(param, "opts", ()) for param in command.params)
        token = ARGUMENTS.set((name, "x"))
        with pytest.raises(SystemExit):
            _leave([])
        assert ("--resume" in capsys.readouterr().err) == continues, name
        ARGUMENTS.reset(token)


@pytest.mark.parametrize("command", ["concept honesty", "reward-detect --use-example-data", "steer runs/x"])
def test_a_seed_below_0_is_refused_at_once(command: str, actkit: Run) -> None:
    """Numpy refused it, when the model had run."""
    status, out, err = actkit(*command.split(), "--seed", "-1")
    assert (status, out) == (2, "") and "'--seed'" in err
