"""Find the chat template of a model's processor: models that read images have it there, where no tokenizer reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.backends.load_errors import explained
from actkit.backends.model_files import AGAIN, check_files, settings
from actkit.backends.names import is_directory
from actkit.config import ModelSpec
from actkit.errors import ModelError

DOCUMENTS = ("processor_config.json", "chat_template.json")
"""Where processors of transformers look, in this order; a `chat_template.jinja` is the tokenizer's too."""


def complete(tokenizer: Any, config: Any, location: str, spec: ModelSpec) -> tuple[str, ...]:
    """Give the tokenizer its processor's template where it has none; returns a warning where it has another.

    Of a model of the hub the processor's files are asked for where there is no template, or where the model has parts
    besides its text model. Raises ModelError for a template that is no text.
    """
    local = is_directory(location)
    if not local and tokenizer.chat_template and config.get_text_config() is config:
        return ()
    for name in DOCUMENTS:
        path = Path(location, name) if local else _of_hub(location, name, spec)
        found = settings(path, spec.name).get("chat_template") if path is not None and path.is_file() else None
        if found is None:
            continue
        named = found if isinstance(found, Mapping) else {"default": found}
        if not all(isinstance(template, str) for template in named.values()):
            raise ModelError(f"{spec.name}: {name} is damaged (its chat_template is no text)", AGAIN)
        if not tokenizer.chat_template:
            tokenizer.chat_template = found
        elif tokenizer.chat_template != found:
            said = f"its processor's chat template ({name}) is another than its tokenizer's, which is the one used"
            return (f"{spec.name}: {said}",)
        break
    return ()


def _of_hub(location: str, name: str, spec: ModelSpec) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    with explained(spec, "chat template"):
        try:
            path = Path(hf_hub_download(location, name, revision=spec.revision))
        except EntryNotFoundError:  # there is none; or the hub cannot be reached, and the cache has none
            return None
    check_files(path.parent, spec.name)
    return path
