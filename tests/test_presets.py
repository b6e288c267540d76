"""`--preset NAME`: each file names what exists, and gives way to what the command line or `--config` says."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from actkit.backends import repository
from actkit.backends.saes import sae_lens
from actkit.cli.app import application, main
from actkit.cli.options import presets as presets_module
from actkit.cli.options.presets import FOLDER, NAMES, SAE_KEYS, load_preset, preset
from actkit.config import ModelSpec, SaeSpec
from actkit.errors import ModelError, UsageError

ASKED_FOR = {
    "gpt2-small",
    "pythia-70m",
    "gemma-2-2b",
    "gemma-2-9b-it",
    "gemma-2-27b-it",
    "gemma-3-1b-it",
    "llama-3.1-8b",
    "mistral-7b-instruct",
    "qwen3-1.7b",
}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2-small": ("GPT2", {}),
    "pythia-70m": (
        "GPTNeoX",
        {"vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 6, "intermediate_size": 2048},
    ),
    "gemma-2-2b": (
        "Gemma2",
        {
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
        },
    ),
    "gemma-2-9b-it": (
        "Gemma2",
        {
            "hidden_size": 3584,
            "intermediate_size": 14336,
            "num_hidden_layers": 42,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 256,
        },
    ),
    "gemma-2-27b-it": (
        "Gemma2",
        {
            "hidden_size": 4608,
            "intermediate_size": 36864,
            "num_hidden_layers": 46,
            "num_attention_heads": 32,
            "num_key_value_heads": 16,
            "head_dim": 128,
        },
    ),
    "gemma-3-1b-it": (
        "Gemma3Text",
        {
            "vocab_size": 262144,
            "hidden_size": 1152,
            "intermediate_size": 6912,
            "num_hidden_layers": 26,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
        },
    ),
    "llama-3.1-8b": (
        "Llama",
        {
            "vocab_size": 128256,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
    ),
    "mistral-7b-instruct": (
        "Mistral",
        {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
    ),
    "qwen3-1.7b": (
        "Qwen3",
        {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 6144,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": True,
        },
    ),
}
"""The published sizes; what they leave out is the architecture's default."""

every_preset = pytest.mark.parametrize("name", NAMES)


def asked(arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """What a command line is about to load first."""
    found: list[Any] = []

    def stop(*given: Any) -> None:
        found.extend(spec for spec in given if isinstance(spec, (SaeSpec, ModelSpec)))
        raise ModelError("as far as loading")

    monkeypatch.setattr(sae_lens, "load", stop)
    monkeypatch.setattr(repository, "read_config", stop)
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--device", "cpu"])
    assert (done.value.code, len(found)) == (1, 1)
    return found[0]


def test_the_presets_are_those_that_were_asked_for() -> None:
    assert set(NAMES) == ASKED_FOR == set(SHAPES)


@every_preset
def test_a_preset_says_licence_memory_and_sae_and_has_only_known_options(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert re.search(r"^# Licence: .+\n# Memory: .+\n# SAE: .+$", text, re.MULTILINE)
    assert set(preset(name)) - {"chat"} == {"model", "dtype", "layers", "sae_release", "sae_id"}
    # Chats are what an instruction-tuned model was trained on.
    assert preset(name).get("chat", False) == (name.endswith(("-it", "-instruct")) or name == "qwen3-1.7b")
    commands: Any = typer.main.get_command(application(()))
    assert set(preset(name)) <= {param.name for param in commands.commands["dpo"].params}
    assert preset(name)["layers"] == "recommended"


@every_preset
def test_the_memory_of_a_preset_is_the_parameters_of_its_shape_times_the_bytes_of_its_dtype(name: str) -> None:
    import torch
    import transformers

    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    says = re.search(r"^# Memory: (\S+) GB for the weights \((\d+) parameters in (\w+)\)", text, re.MULTILINE)
    assert says
    kind, sizes = SHAPES[name]
    config = getattr(transformers, f"{kind}Config")(**sizes)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert int(says[2]) == model.num_parameters()
    assert says[3] == preset(name)["dtype"]
    assert says[1] == f"{int(says[2]) * BYTES[says[3]] / 1e9:.2f}"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("gemma", "llama"))])
def test_the_shape_is_the_one_that_transformer_lens_has_in_its_tables(name: str) -> None:
    """It has none of the others: for those it asks the hub."""
    from transformer_lens.loading_from_pretrained import convert_hf_model_config

    table, (_, sizes) = convert_hf_model_config(preset(name)["model"]), SHAPES[name]
    names = {
        "hidden_size": "d_model",
        "intermediate_size": "d_mlp",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_key_value_heads",
        "head_dim": "d_head",
        "vocab_size": "d_vocab",
    }
    assert len(sizes) > 5
    assert sizes == {key: table[names[key]] for key in sizes}


@pytest.mark.quick(3)
@every_preset
def test_release_and_ids_are_in_the_registry_and_the_sae_reads_a_recommended_layer(name: str) -> None:
    values = preset(name)
    release = sae_lens.releases()[values["sae_release"]]
    (sae_id,) = values["sae_id"]
    assert sae_id in release.sae_ids
    named = re.match(r"(?:blocks\.|layer_?|l)(\d+)", sae_id)
    assert named
    sizes = SHAPES[name][1]
    assert 0.45 <= int(named[1]) / sizes.get("num_hidden_layers", 12) <= 0.85


@every_preset
def test_where_the_sae_is_of_another_model_the_file_says_so(name: str) -> None:
    values, text = preset(name), (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    plain = [
        text.rpartition("/")[2].lower() for text in (sae_lens.releases()[values["sae_release"]].model, values["model"])
    ]
    assert (plain[0] != plain[1]) == ("trained on the base model" in text)


@every_preset
def test_a_preset_reaches_the_model_of_dpo_without_its_sae(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = asked(["dpo", "in.jsonl", "--preset", name], monkeypatch, tmp_path)
    assert isinstance(found, ModelSpec)
    assert (found.name, found.dtype) == (preset(name)["model"], preset(name)["dtype"])


@every_preset
def test_a_preset_reaches_the_sae_of_sae_extract(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = asked(["sae-extract", "in.jsonl", "--preset", name], monkeypatch, tmp_path)
    assert (found.release, [found.sae_id]) == (preset(name)["sae_release"], preset(name)["sae_id"])


@pytest.mark.parametrize("order", [1, -1])
def test_a_flag_wins_over_the_config_and_the_config_over_the_preset(
    order: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: from-the-file\ndtype: float16\n", encoding="utf-8")
    options = [["--preset", "gemma-2-2b"], ["--config", str(file)]][::order]
    arguments = ["dpo", "in.jsonl", *options[0], *options[1]]
    found = asked(arguments, monkeypatch, tmp_path)
    assert (found.name, found.dtype) == ("from-the-file", "float16")
    found = asked([*arguments, "--model", "from-the-flag"], monkeypatch, tmp_path)
    assert (found.name, found.dtype) == ("from-the-flag", "float16")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--sae", "somewhere"], (None, None, None)),
        (["--sae=somewhere"], (None, None, None)),
        (["--sae-release", "other", "--sae-id", "x"], ("other", "x", None)),
        (
            ["--sae-id", "layer_9/width_16k/canonical"],
            ("gemma-scope-9b-it-res-canonical", "layer_9/width_16k/canonical", None),
        ),
        (["--target-layer", "9"], ("gemma-scope-9b-it-res-canonical", "layer_9/width_16k/canonical", 9)),
    ],
)
def test_an_sae_on_the_command_line_replaces_that_of_the_preset(
    more: list[str], expected: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = asked(["sae-extract", "in.jsonl", "--preset", "gemma-2-9b-it", *more], monkeypatch, tmp_path)
    assert (found.release, found.sae_id, found.layer) == expected


@pytest.mark.parametrize("order", [1, -1])
def test_an_sae_in_the_config_replaces_that_of_the_preset(
    order: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("sae: somewhere\n", encoding="utf-8")
    options = [["--preset", "gemma-2-2b"], ["--config", str(file)]][::order]
    found = asked(["sae-extract", "in.jsonl", *options[0], *options[1]], monkeypatch, tmp_path)
    assert (found.release, found.sae_id, found.path) == (None, None, "somewhere")


def test_a_preset_without_an_sae_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = {key: setting for key, setting in preset("gpt2-small").items() if key not in SAE_KEYS}
    monkeypatch.setattr(presets_module, "preset", lambda name: bare)
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as done:
        main(["sae-extract", "in.jsonl", "--preset", "gpt2-small"])
    assert done.value.code == 2
    assert "no SAE given for gpt2-small" in capsys.readouterr().err


def test_an_unknown_preset_names_close_ones_and_all() -> None:
    with pytest.raises(UsageError) as raised:
        preset("gemma-2-9b")
    assert "gemma-2-9b-it" in raised.value.hint.partition("?")[0]
    assert all(name in raised.value.hint for name in NAMES)


def test_the_help_lists_every_preset() -> None:
    commands: Any = typer.main.get_command(application(()))
    (found,) = [param for param in commands.commands["dpo"].params if param.name == "preset"]
    assert all(name in found.help for name in NAMES)


OLDER_SCRIPT = "sae-extract.yaml"
"""What the script had that `sae-extract` replaces: its SAE is of the base model, and its prompts are plain text."""


CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize(
    "config", [config for config in CONFIGS if config.name != OLDER_SCRIPT], ids=lambda field: field.name
)
def test_a_preset_and_a_configuration_of_one_model_agree(config: Path) -> None:
    """Else the same command on the same model reads other tokens, by which of the two was taken."""
    asked = dict(yaml.safe_load(config.read_text(encoding="utf-8")))
    commands: Any = typer.main.get_command(application(()))
    for name in (key for key in NAMES if preset(key)["model"] == asked["model"]):
        context = typer.Context(commands.commands[asked["command"]], info_name=asked["command"])
        load_preset(context, name)
        given = context.default_map or {}
        keys = {"chat", *(("sae_release", "sae_id") if "sae_release" in asked else ())}
        assert {key: given.get(key) for key in keys} == {key: asked.get(key) for key in keys}, name


def test_a_preset_says_chat_where_the_command_asks_and_not_where_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: Any = typer.main.get_command(application(()))
    for command, expected in (("sae-extract", True), ("capture", True), ("concept", None), ("reward-detect", None)):
        context = typer.Context(commands.commands[command], info_name=command)
        load_preset(context, "gemma-3-1b-it")
        assert (context.default_map or {}).get("chat") is expected
