"""A chat template that a model's processor has and its tokenizer does not read: used where there is no other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from actkit.backends import describe, loading
from actkit.config import ModelSpec
from actkit.errors import ModelError
from actkit.pipeline.tokens.chat import encode_chat
from tests.command_line import Run

TEXTS = "{% for m in messages %}<user>{{ m.content }}{% endfor %}"
PARTS = (
    "{% for m in messages %}{{ '<' + m.role + '>' }}"
    "{% for part in m.content | selectattr('type', 'equalto', 'image') %}<image>{% endfor %}"
    "{% for part in m.content | selectattr('type', 'equalto', 'text') %}{{ part.text }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""Made after templates of models that read images: of a content that is no list, nothing is left."""


@pytest.fixture
def folder(model_dir: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_dir("llama"), tmp_path / "model"))


def write(folder: Path, name: str, template: Any) -> None:
    (folder / name).write_text(json.dumps({"chat_template": template}))


@pytest.mark.parametrize("name", ["chat_template.json", "processor_config.json"])
@pytest.mark.parametrize("template", [TEXTS, {"default": TEXTS, "tool_use": "no"}], ids=["one", "named"])
def test_the_processors_template_is_the_tokenizers_where_it_has_none(folder: Path, name: str, template: Any) -> None:
    """The model ran without its template: plain texts where its processor renders chats."""
    write(folder, name, template)
    found = describe(ModelSpec(str(folder), device="cpu"))
    assert found.doubts == ()
    encoding, _ = encode_chat(found.tokenizer, [{"role": "user", "content": "ab"}], True)
    assert encoding.text == "<user>ab"


def test_a_run_takes_it_and_is_warned_of_where_there_are_two(folder: Path, actkit: Run, tmp_path: Path) -> None:
    write(folder, "chat_template.json", PARTS)
    options = ("capture", "-p", "ab", "-m", str(folder), "--layers", "0", "--device", "cpu", "--chat", "-o")
    assert actkit(*options, str(tmp_path / "parts")).status == 0
    facts = json.loads((tmp_path / "parts" / "run.json").read_text())
    assert facts.get("warnings", []) == []
    assert pq.read_table(tmp_path / "parts" / "sequences")["text"].to_pylist() == ["<user>ab<assistant>"]
    (folder / "chat_template.jinja").write_text(TEXTS)
    found = actkit(*options, str(tmp_path / "two"))
    said = "its processor's chat template (chat_template.json) is another than its tokenizer's, which is the one used"
    assert found.status == 0 and said in " ".join(found.err.split())
    assert said in json.loads((tmp_path / "two" / "run.json").read_text())["warnings"][0]
    write(folder, "chat_template.json", TEXTS)  # one template, twice
    assert describe(ModelSpec(str(folder), device="cpu")).doubts == ()


def test_a_template_that_reads_parts_alone_is_given_parts(folder: Path) -> None:
    write(folder, "chat_template.json", PARTS)
    tokenizer = describe(ModelSpec(str(folder), device="cpu")).tokenizer
    messages = [{"role": "user", "content": "to be"}, {"role": "assistant", "content": "or not"}]
    encoding, spans = encode_chat(tokenizer, messages, True)
    assert encoding.text == "<user>to be<assistant>or not<assistant>"
    assert [encoding.text[first:last] for first, last in spans] == ["to be", "or not"]


@pytest.mark.parametrize("template", [3, ["x"], {"default": None}], ids=str)
def test_what_is_no_template_is_named(folder: Path, template: Any) -> None:
    write(folder, "chat_template.json", template)
    with pytest.raises(ModelError, match="chat_template.json is damaged"):
        describe(ModelSpec(str(folder), device="cpu"))


def test_of_the_hub_it_is_asked_for_where_there_is_no_other_or_the_model_has_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import EntryNotFoundError

    write(folder, "chat_template.json", TEXTS)
    asked: list[str] = []

    def download(_repository: str, name: str, revision: str | None) -> str:
        asked.append(name)
        if not (folder / name).exists():
            raise EntryNotFoundError(name)
        return str(folder / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = describe(ModelSpec(str(folder), device="cpu"))
    found.tokenizer.chat_template = None
    spec = ModelSpec("somebody/model", device="cpu")
    assert loading.with_processors_template(found.tokenizer, found.config, spec.name, spec) == ()
    assert found.tokenizer.chat_template == TEXTS and asked == ["processor_config.json", "chat_template.json"]
    assert loading.with_processors_template(found.tokenizer, found.config, spec.name, spec) == () and len(asked) == 2
    monkeypatch.setattr(type(found.config), "get_text_config", lambda _config: object())
    found.tokenizer.chat_template = PARTS
    assert (
        len(loading.with_processors_template(found.tokenizer, found.config, spec.name, spec)) == 1 and len(asked) == 4
    )
