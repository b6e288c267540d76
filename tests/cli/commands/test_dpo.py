"""`actkit dpo` without its file, and what it makes of its options."""

from pathlib import Path
from typing import Any

import pytest

from actkit.cli.commands import dpo as module
from tests.command_line import Run


def test_without_a_file_a_config_that_lies_there_is_named(
    actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "actkit dpo --config config.yaml" not in actkit("dpo").err
    Path("config.yaml").touch()
    found = actkit("dpo")
    assert found.status == 2 and "no PAIRS given" in found.err and "actkit dpo --config config.yaml" in found.err


def test_an_older_scripts_input_and_fields_reach_the_spec(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    monkeypatch.setattr(module, "run_command", lambda _run, own, common, _shared: found.extend((own, common)))
    monkeypatch.setattr(module, "hand_over", lambda _finished, _shared: None)
    fields = ("--prompt-field", "q", "--chosen-field", "good", "--system-field", "s", "--no-chat")
    assert actkit("dpo", "--input", "p.jsonl", *fields, "--top-k", "0", "--hook-point", "hook_mlp_out").status == 0
    own, common = found
    assert (own.path, own.prompt_field, own.chat) == ("p.jsonl", "q", False)
    assert (own.answers.chosen_field, own.context.system_field) == ("good", "s")
    assert common.top_k is None and common.hook_points == ("hook_mlp_out",)
