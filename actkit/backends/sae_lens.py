"""SAELens: its registry and its SAEs. Only this file imports sae_lens.

An SAE is read before the model, since it says which hook point of which model it reads and how: with BOS or without,
with centred weights, with heads laid side by side (`described_sae`).
"""

import difflib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from actkit.backends.described_sae import REFUSED, described
from actkit.backends.explain import hub_hint, quiet_hub
from actkit.backends.names import in_short, is_hub_id
from actkit.backends.sae import Sae
from actkit.backends.sae_formats import converter
from actkit.bundled import NAME, SAES
from actkit.config import SaeSpec
from actkit.errors import ModelError, UsageError

NEEDS_THE_HUB = ("gemma_3", "mntss_clt_layer_transcoder")
"""Loaders of SAELens that ask the hub for the shapes of tensors each time, whatever the local cache holds."""

FILES = ("cfg.json", "sae_weights.safetensors", "sae.safetensors", "config.json", "ae.pt")
"""All that is fetched of an SAE's folder in a Hugging Face repository."""

LONGEST = 255
"""Characters of a folder in a repository; file systems have no longer names."""


@dataclass(frozen=True)
class Release:
    """One release of the registry."""

    name: str
    model: str
    sae_ids: tuple[str, ...]
    repository: str


def releases() -> Mapping[str, Release]:
    """Every release that SAELens knows, and the bundled one."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    bundled = Release(NAME, NAME, _bundled_ids(), "bundled")
    known = {
        name: Release(name, entry.model, tuple(entry.saes_map), entry.repo_id)
        for name, entry in get_pretrained_saes_directory().items()
    }
    return {NAME: bundled, **known}


def _bundled_ids() -> tuple[str, ...]:
    return tuple(sorted(path.name for path in SAES.glob("blocks.*")))


def load(spec: SaeSpec, device: str) -> Sae:
    """Load one SAE or transcoder in float32.

    A directory, and one of a Hugging Face repository, may be in SAELens's format, sparsify's or dictionary_learning's.

    Raises UsageError for a release or an id that is not known, with the nearest ones; ModelError for files that cannot
    be read, names that nothing can have, cross-layer transcoders, and architectures that do not encode each token by
    itself.
    """
    if spec.path is not None:
        return _from_disk(Path(spec.path), Path(spec.path).name, device)
    if spec.release is None or not spec.sae_id:
        raise UsageError("an SAE is a release and an id, or a directory", "--sae-release R --sae-id I, or --sae DIR")
    name = f"{spec.release}/{spec.sae_id}"
    if spec.release == NAME:
        if spec.sae_id not in _bundled_ids():
            raise _unknown_id(spec.release, spec.sae_id, _bundled_ids())
        return _from_disk(SAES / spec.sae_id, name, device)
    if "/" in spec.release:
        folder = _fetched(spec.release, spec.sae_id)
        return _from_disk(folder, name, device, {"revision": _commit(spec.release)})
    known = releases()
    if spec.release not in known:
        raise unknown_release(spec.release)
    if spec.sae_id not in known[spec.release].sae_ids:
        raise _unknown_id(spec.release, spec.sae_id, known[spec.release].sae_ids)
    return _from_registry(spec.release, spec.sae_id, device, known[spec.release].repository)


def unknown_release(release: str) -> UsageError:
    """The error for a release that is not in the registry, with the nearest ones."""
    near = difflib.get_close_matches(release, releases(), n=5, cutoff=0.4)
    hint = f"the nearest are {', '.join(near)}" if near else "actkit saes lists the releases"
    return UsageError(f"--sae-release {in_short(release)} is not known", hint)


def _unknown_id(release: str, sae_id: str, ids: tuple[str, ...]) -> UsageError:
    near = difflib.get_close_matches(sae_id, ids, n=5, cutoff=0.3) or list(ids[:5])
    return UsageError(
        f"{release} has no SAE {in_short(sae_id)}", f"the nearest of its {len(ids)} are {', '.join(near)}"
    )


def _from_disk(path: Path, name: str, device: str, facts: Mapping[str, Any] | None = None) -> Sae:
    from sae_lens import SAE

    found = converter(path)
    with _explained(str(path), "fetch its files again"):
        if found is None:
            _check_finished(path)
            sae = SAE.load_from_disk(path, device=device, dtype="float32")
        else:
            sae = SAE.load_from_disk(path, device=device, dtype="float32", converter=found[1])
    return described(sae, name, dict(facts or {}))


def _check_finished(path: Path) -> None:
    """Raise ModelError for a checkpoint of training: its BatchTopK chooses among all tokens of a batch at once."""
    architecture = str(json.loads((path / "cfg.json").read_text(encoding="utf-8")).get("architecture"))
    if "batchtopk" in architecture:
        raise ModelError(
            f"{path} is a {architecture} SAE in training: which features it keeps depends on the batch",
            "SAELens's save_inference_model writes one whose threshold is fixed",
        )


def _from_registry(release: str, sae_id: str, device: str, repository: str) -> Sae:
    from sae_lens import SAE
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    name, loader = f"{release}/{sae_id}", get_pretrained_saes_directory()[release].conversion_func
    if loader == "mntss_clt_layer_transcoder" or (loader == "gemma_3" and "clt" in sae_id):
        raise ModelError(
            f"{name} is a part of a cross-layer transcoder: it writes to many layers", "choose an SAE or a transcoder"
        )
    if loader in REFUSED:
        raise ModelError(f"{name} is a {loader} SAE: {REFUSED[loader]}", "choose another SAE")
    hint = "check the connection, or that its files are in the local cache"
    if loader in NEEDS_THE_HUB:
        hint = (
            "SAELens asks the hub for this release's shapes, so that the local cache does not do: load it once with a "
            "connection, save it with its save_model, and give that directory as --sae"
        )
    with _explained(name, hint), _tensors_only():
        sae = SAE.from_pretrained(release, sae_id, device=device, dtype="float32")
    return described(sae, name, {"revision": _commit(repository)})


def _fetched(repository: str, sae_id: str) -> Path:
    """The local directory of an SAE in a Hugging Face repository; `.` is the repository itself."""
    from huggingface_hub import snapshot_download

    if not is_hub_id(repository):
        raise ModelError(f"{in_short(repository)}: no name that a repository can have", "check --sae-release")
    if ".." in Path(sae_id).parts or Path(sae_id).is_absolute() or not sae_id.isprintable() or len(sae_id) > LONGEST:
        raise UsageError(
            f"--sae-id {in_short(sae_id)} is no folder of {repository}", "name a folder, or . for the repository"
        )
    inside = PurePosixPath(sae_id)
    # sparsify says beside its folders which model and dataset they are of.
    wanted = [*(str(inside / file) for file in FILES), str(inside.parent / "config.json")]
    hint = f"check the name, the connection, and that {sae_id} is a folder of the repository"
    with _explained(f"{repository}/{sae_id}", hint):
        folder = Path(snapshot_download(repository, allow_patterns=wanted)) / sae_id
        if not folder.is_dir():
            raise FileNotFoundError(f"{repository} has no folder {sae_id} in the local cache or on the hub")
    return folder


def _commit(repository: str) -> str | None:
    """The commit of a repository that the hub's client has read, by its own notes."""
    from huggingface_hub import constants

    main = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "refs" / "main"
    return main.read_text(encoding="utf-8").strip() if main.is_file() else None


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Let `torch.load` read nothing but tensors, also where SAELens leaves that to torch's version."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextmanager
def _explained(name: str, hint: str) -> Iterator[None]:
    """Turn whatever SAELens, the hub or a damaged file raises into one sentence and a hint."""
    quiet_hub()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names, and about how to load the model, which is read off here
            yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{name}: the SAE cannot be loaded ({_line(error)})", _hint(error, name, hint)) from error


def _hint(error: Exception, name: str, hint: str) -> str:
    """What the hub's own errors ask for; else `hint`, which also says what an unreachable hub means for this SAE."""
    from huggingface_hub import errors as hub

    if isinstance(error, (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError)):
        return hint
    return hub_hint(error, name, "SAE") or hint


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
