"""Each file of `configs/` works with `--config`: its command, options, values, release and SAEs exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from actkit.backends import repository
from actkit.backends.saes import sae_lens
from actkit.cli.app import application, main
from actkit.cli.options.config_file import NOT_REPLAYED
from actkit.config import ModelSpec, SaeSpec
from actkit.errors import ModelError

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "configs").glob("*.yaml"))
INPUT = {"capture": "in.txt", "dpo": "in.jsonl", "feature-dataset": "in.txt", "sae-extract": "in.jsonl"}
"""What a command of this name is given to read where its file names nothing."""

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
every_sae = pytest.mark.parametrize(
    "path", [path for path in FILES if "sae_release" in path.read_text(encoding="utf-8")], ids=lambda path: path.name
)


def values_of(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def chosen(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """What the command line is about to load first: a SaeSpec or, of a command without SAEs, a ModelSpec."""
    asked: list[Any] = []

    def stop(*arguments: Any) -> None:
        asked.extend(argument for argument in arguments if isinstance(argument, (SaeSpec, ModelSpec)))
        raise ModelError("as far as loading")

    monkeypatch.setattr(sae_lens, "load", stop)
    monkeypatch.setattr(repository, "read_config", stop)
    monkeypatch.chdir(tmp_path)
    values = values_of(path)
    command = values["command"]
    given = {"pairs", "prompts", "what", "use_example_data"} & set(values)
    source = [] if given else [INPUT[command]]
    for name in source:
        Path(name).write_text("{}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as done:
        main([command, *source, "--config", str(path), "--device", "cpu"])
    assert (done.value.code, len(asked)) == (1, 1)
    return asked[0]


@every_file
def test_a_config_is_flat_and_names_a_command_and_only_its_options(path: Path) -> None:
    values = values_of(path)
    command = values.pop("command")
    assert command in {command.name for command in application(()).registered_commands}
    commands: Any = typer.main.get_command(application(()))
    assert set(values) <= {param.name for param in commands.commands[command].params} - set(NOT_REPLAYED)
    for value in values.values():
        for item in value if isinstance(value, list) else [value]:
            assert isinstance(item, (str, int, float, bool))


@every_file
def test_a_config_begins_with_how_it_is_run(path: Path) -> None:
    head = re.match(r"(?:# [^\n]+\n)+", path.read_text(encoding="utf-8"))
    assert head
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    command = re.escape(values_of(path)["command"])
    assert re.search(rf"actkit {command} ([^\n]* )?--config configs/{re.escape(path.name)}\b", head[0] + makefile)


@every_file
def test_a_config_is_accepted_as_far_as_loading(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values, found = values_of(path), chosen(path, monkeypatch, tmp_path)
    if isinstance(found, ModelSpec):
        assert (found.name, found.dtype) == (values["model"], values.get("dtype", "float32"))
    else:
        assert found.release == values["sae_release"]


@every_sae
def test_each_release_and_each_id_is_in_the_registry(path: Path) -> None:
    values = values_of(path)
    assert values["sae_release"] in sae_lens.releases()
    assert set(values.get("sae_id", ())) <= set(sae_lens.releases()[values["sae_release"]].sae_ids)
    assert ("sae_id" in values) != ("target_layer" in values)


@every_sae
def test_the_sae_of_a_config_is_one_and_reads_the_residual_stream(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    values, found = values_of(path), chosen(path, monkeypatch, tmp_path)
    # A page's name has layer and site: gpt2-small/8-res-jb.
    page = get_pretrained_saes_directory()[found.release].neuronpedia_id[found.sae_id]
    layer = re.fullmatch(r"[\w.-]+/(\d+)-(?:gemmascope-(?:2-)?)?res-\w+", str(page))
    assert layer, page
    named = re.search(r"(?:blocks\.|layer_)(\d+)", values.get("sae_id", [f"layer_{values.get('target_layer')}"])[0])
    assert named and named[1] == layer[1]
