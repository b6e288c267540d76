"""Cases for `calls`: a command with a model's folder of somebody else's making."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ARCHITECTURES, save_random_model
from tests.fuzz.calls import check_whole
from tests.fuzz.hostile_folders import OF_MODELS, make

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"


def warm(actkit: Callable[[list[str]], object]) -> None:
    """A whole model, and what is imported for one."""
    whole = Path("whole")
    if not whole.exists():
        save_random_model(*ARCHITECTURES["llama"], whole)
        (whole / "chat_template.jinja").write_text(CHAT)
    for chat in ("--chat", "--no-chat"):
        check_whole(
            actkit, "capture", "-p", "ab", "-m", "whole", "--layers", "0", "-o", "warm", "-q", "--overwrite", chat
        )


def case(folder: Path, number: int) -> tuple[list[str], list[str], bool]:
    """What was done to the folder, the command line, and whether success would mean that something outside was read."""
    steps = make(folder / "whole", folder / "case" / "model", OF_MODELS, number)
    shutil.rmtree("out", ignore_errors=True)
    shutil.rmtree("out.partial", ignore_errors=True)
    chat = "--chat" if "template" in steps or number % 2 else "--no-chat"
    arguments = ["capture", "-p", "ab", "-m", "case/model", "--layers", "0", "-o", "out", "-q", chat]
    return steps, arguments, "index" in steps and (folder / "case" / "secret.safetensors").exists()
