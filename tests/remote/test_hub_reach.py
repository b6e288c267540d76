"""A hub that nobody answers at is told of before anything that takes seconds is imported."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actkit.errors import ModelError
from actkit.remote import hub_reach

CALL = """
import sys
from actkit.cli.app import main
try:
    main(["capture", "-p", "x", "-o", "x", *sys.argv[1:]])
finally:
    print(sorted({"torch", "transformers", "transformer_lens"} & set(sys.modules)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "what"), [("-m gpt2", "model"), ("--sae-id gpt2-small-res-jb/blocks.8.hook_resid_pre", "SAE")]
)
def test_an_unreachable_hub_is_said_without_importing_torch(tmp_path: Path, asked: str, what: str) -> None:
    """Its address is a port of this machine at which nothing listens."""
    away = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(tmp_path), "NO_PROXY": "*"}
    call = [sys.executable, "-c", CALL, *asked.split()]
    done = subprocess.run(
        call, env={**os.environ, **away}, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "[]\n"), done.stderr
    said = f"error: {asked.split()[1]}: the hub cannot be reached and the {what} is not in the local cache"
    assert done.stderr.startswith(said)
    assert "--model tiny" in done.stderr and f"--{what.lower()} DIR" in done.stderr


@pytest.mark.parametrize("closes", [False, True], ids=["silent", "closed at once"])
def test_an_address_that_takes_connections_and_says_nothing_is_no_hub(
    closes: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A proxy or a firewall; the hub's client waits ten seconds for each of five tries."""
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as listening:  # whose connections nobody takes up
        if closes:
            threading.Thread(target=lambda: listening.accept()[0].close(), daemon=True).start()
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setattr(hub_reach, "PATIENCE", (0.5, 0.2, 0.5, 0.5))
        hub_reach._answers.cache_clear()
        with pytest.raises(ModelError, match="cannot be reached") as raised:
            hub_reach.check_model("gpt2")
        assert "--model tiny" in raised.value.hint and "--model DIR" in raised.value.hint
    hub_reach._answers.cache_clear()


def test_what_may_be_in_the_cache_or_on_this_machine_is_left_to_whoever_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_reach, "is_reachable", lambda: False)
    for name in ("tiny", str(tmp_path), "./nothing", "~/nothing", "a/b/c", "https://x", "model.gguf"):
        hub_reach.check_model(name)
    for name in ("owner/name", "gpt2"):
        with pytest.raises(ModelError, match="cannot be reached"):
            hub_reach.check_model(name)
    (tmp_path / "cache/models--owner--name").mkdir(parents=True)
    hub_reach.check_model("owner/name")
    hub_reach.check_model("gpt2")  # an alias may be that model's
    with pytest.raises(ModelError):
        hub_reach.check_model("owner/other")


def test_an_sae_that_only_the_hub_can_have_is_looked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the repository of its release; loading SAELens to find that out took half a minute."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub_reach, "is_reachable", lambda: False)
    left: list[tuple[str | None, list[str]]] = [
        (None, []), ("tiny", []), (None, ["tiny/x"]), ("no-such-release", ["x"]), (None, ["blocks.1.hook_resid_post"])
    ]  # fmt: skip
    for release, ids in left:
        hub_reach.check_saes(release, ids)
    asked: list[tuple[str | None, list[str], str]] = [
        ("gpt2-small-res-jb", [], "jbloom--GPT2-Small-SAEs-Reformatted"),
        (None, ["gpt2-small-res-jb/blocks.8.hook_resid_pre"], "jbloom--GPT2-Small-SAEs-Reformatted"),
        ("owner/name", ["."], "owner--name"),
        (None, ["tiny/x", "owner/other/folder"], "owner--other"),
    ]
    for release, ids, repository in asked:
        with pytest.raises(ModelError, match="cannot be reached and the SAE") as raised:
            hub_reach.check_saes(release, ids)
        assert (release or ids[-1]) in str(raised.value) and "--sae DIR" in raised.value.hint
        (tmp_path / f"models--{repository}").mkdir()
        hub_reach.check_saes(release, ids)
        (tmp_path / f"models--{repository}").rmdir()


@pytest.mark.slow
def test_the_registry_read_as_text_says_what_saelens_reads() -> None:
    from actkit.backends.saes.sae_lens import releases

    known = {name: entry.repository for name, entry in releases().items() if name != "tiny"}
    assert known == {name: hub_reach._repository_of(name, whole=True) for name in known}
