"""SAELens: its registry and its SAEs. Only this file imports sae_lens.

An SAE is loaded before the model, since its metadata names the model and the hook point, and says how to read it: with
BOS or without, with centred weights, with concatenated heads (`metadata`).
"""

import copy
import difflib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from actkit.backends.load_errors import explained_sae
from actkit.backends.model_files import check_files, check_size, count_of, settings
from actkit.backends.saes.formats import check_activation, commit_of, converter, fetched, says_bos
from actkit.backends.saes.metadata import REFUSED, described
from actkit.backends.saes.sae import Sae
from actkit.bundled import NAME, SAES
from actkit.config import SaeDtype, SaeSpec
from actkit.errors import ModelError, UsageError, first_line, in_short
from actkit.remote.hub_reach import Release

DAMAGED = "its cfg.json and its weights do not belong together; fetch its files again"
MOST = 1 << 26
"""Largest `d_in` and `d_sae` of an SAE."""


def releases() -> Mapping[str, Release]:
    """Name → release: the bundled one, and every release that SAELens knows."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    bundled = Release(NAME, NAME, _bundled_ids(), "bundled")
    known = {
        name: Release(name, entry.model, tuple(entry.saes_map), entry.repo_id)
        for name, entry in get_pretrained_saes_directory().items()
    }
    return {NAME: bundled, **known}


def named(name: str) -> SaeSpec | None:
    """Split the name `RELEASE/ID` of an SAE in a run; None where it has no release or no id.

    A release of the registry has no slash in its name, a repository on the hub has one.
    """
    owner, _, rest = name.partition("/")
    if owner == NAME or owner in releases():
        return SaeSpec(owner, rest) if rest else None
    repository, _, sae_id = rest.partition("/")
    return SaeSpec(f"{owner}/{repository}", sae_id) if repository and sae_id else None


def _bundled_ids() -> tuple[str, ...]:
    return tuple(sorted(path.name for path in SAES.glob("blocks.*")))


def load(spec: SaeSpec, device: str, dtype: SaeDtype = "float32") -> Sae:
    """Load an SAE or transcoder in float32; `dtype` is that in which active features are found (`sparse_encode`).

    A directory, local or in a Hugging Face repository, has the format of SAELens, sparsify or dictionary_learning.

    Raises UsageError for an unknown release or id, with the nearest ones; ModelError for files that cannot be read,
    impossible names, cross-layer transcoders, and architectures that do not encode each token by itself.
    """
    if spec.loaded is not None:
        return _in_memory(spec.loaded, device, dtype)
    if spec.path is not None:
        path = Path(spec.path)
        if path.name in ("", ".."):  # a directory's own name is its SAE's, and tells sparsify's hook point
            path = Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links, to other names
        return _from_disk(path, path.name, device, dtype)
    if spec.release is None or not spec.sae_id:
        raise UsageError("an SAE is a release and an id, or a directory", "--sae-release R --sae-id I, or --sae DIR")
    name = f"{spec.release}/{spec.sae_id}"
    facts: dict[str, Any] = {"sae_release": spec.release, "sae_id": spec.sae_id}
    if spec.release == NAME:
        if spec.sae_id not in _bundled_ids():
            raise _unknown_id(spec.release, spec.sae_id, _bundled_ids())
        return _from_disk(SAES / spec.sae_id, name, device, dtype, facts)
    if "/" in spec.release:
        folder = fetched(spec.release, spec.sae_id)
        return _from_disk(folder, name, device, dtype, facts | {"revision": commit_of(spec.release)})
    known = releases()
    if spec.release not in known:
        raise unknown_release(spec.release)
    if spec.sae_id not in known[spec.release].sae_ids:
        raise _unknown_id(spec.release, spec.sae_id, known[spec.release].sae_ids)
    sae = _from_registry(spec.release, spec.sae_id, device)
    facts["revision"] = commit_of(known[spec.release].repository)
    return _tried(described(sae, name, facts, dtype))


def name_of(sae: Any) -> str:
    """The name of an SAE in memory: release, and id or else hook point, as far as it has them; else its class."""
    about = sae.cfg.metadata.to_dict()
    names = (about.get("sae_lens_release") or about.get("release"), about.get("sae_id") or about.get("hook_name"))
    return "/".join(str(part) for part in names if part) or type(sae).__name__


def _in_memory(sae: Any, device: str, dtype: SaeDtype) -> Sae:
    """Make a `Sae` of the caller's SAE, or of a copy where its dtype, device or shape of heads must change."""
    if not hasattr(getattr(sae, "cfg", None), "metadata") or not hasattr(sae, "encode"):
        raise UsageError(
            f"{type(sae).__name__} is no SAE of SAELens", "give an SAE object, a release and an id, or a path"
        )
    weights = next(iter(sae.state_dict().values()))
    if sae.cfg.reshape_activations == "hook_z" or weights.dtype != torch.float32 or str(weights.device) != device:
        sae = copy.deepcopy(sae).to(device=device, dtype=torch.float32)
    return described(sae, name_of(sae), {}, dtype)


def unknown_release(release: str) -> UsageError:
    """Make the error for a release that is not in the registry, with the nearest ones."""
    near = difflib.get_close_matches(release, releases(), n=5, cutoff=0.4)
    hint = f"the nearest are {', '.join(near)}" if near else "actkit saes lists the releases"
    return UsageError(f"--sae-release {in_short(release)} is not known", hint)


def _unknown_id(release: str, sae_id: str, ids: tuple[str, ...]) -> UsageError:
    near = difflib.get_close_matches(sae_id, ids, n=5, cutoff=0.3) or list(ids[:5])
    hint = f"the nearest of its {len(ids)} are {', '.join(near)}"
    if release == NAME:
        hint += "; for another model's, --preset gemma-2-9b-it, or --model and --sae-release"
    return UsageError(f"{release} has no SAE {in_short(sae_id)}", hint)


def _from_disk(path: Path, name: str, device: str, dtype: SaeDtype, facts: Mapping[str, Any] | None = None) -> Sae:
    from sae_lens import SAE

    found = converter(path)
    check_files(path, in_short(path))
    with explained_sae(in_short(path), "fetch its files again"):
        if found is None:
            about = _check_own(path)
            sae = SAE.load_from_disk(path, device=device, dtype="float32")
            if not says_bos(about):
                vars(sae.cfg.metadata).pop("prepend_bos", None)
        else:
            sae = SAE.load_from_disk(path, device=device, dtype="float32", converter=found)
        return _tried(described(sae, name, dict(facts or {}), dtype))


def _tried(sae: Sae) -> Sae:
    """Return the SAE. Raises ModelError where it cannot encode a vector of zeros."""
    try:
        with torch.inference_mode():
            found = sae.encode(torch.zeros((1, sae.d_in), device=next(iter(sae.weights.values())).device))
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise ModelError(f"{sae.name} cannot encode a vector ({in_short(first_line(error))})", DAMAGED) from error
    if found.shape != (1, sae.d_sae):
        raise ModelError(f"{sae.name} makes {list(found.shape)} of a vector, not [1, {sae.d_sae}]", DAMAGED)
    return sae


def _check_own(path: Path) -> Mapping[str, Any]:
    """Read and check the configuration of an SAE in SAELens's own format.

    Raises ModelError for sizes that the weights' file cannot hold, for an activation function that is not read, and for
    a BatchTopK checkpoint of training, which chooses features among all tokens of a batch.
    """
    about = settings(path / "cfg.json", in_short(path))
    check_size(
        4 * count_of(about, "d_in", str(path), MOST) * count_of(about, "d_sae", str(path), MOST), path, str(path)
    )
    check_activation(about, str(path))
    architecture = str(about.get("architecture"))
    if "batchtopk" in architecture:
        raise ModelError(
            f"{path} is a {architecture} SAE in training: which features it keeps depends on the batch",
            "SAELens's save_inference_model writes one whose threshold is fixed",
        )
    return about


def _from_registry(release: str, sae_id: str, device: str) -> Any:
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    name, loader = f"{release}/{sae_id}", get_pretrained_saes_directory()[release].conversion_func
    if loader == "mntss_clt_layer_transcoder" or (loader == "gemma_3" and "clt" in sae_id):
        raise ModelError(
            f"{name} is a part of a cross-layer transcoder: it writes to many layers", "choose an SAE or a transcoder"
        )
    if loader in REFUSED:
        raise ModelError(f"{name} is a {loader} SAE: {REFUSED[loader]}", "choose another SAE")
    hint = "check the connection, or that its files are in the local cache; --sae DIR is one of yours"
    # For Gemma Scope 2, SAELens would ask the hub for shapes each time, even with a local copy.
    from_file = patch.object(pretrained_sae_loaders, "get_safetensors_tensor_shapes", _shapes)
    with explained_sae(name, hint, of_hub=True), _tensors_only(), from_file:
        return SAE.from_pretrained(release, sae_id, device=device, dtype="float32")


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Inside, `torch.load` reads only tensors, also where SAELens does not ask for that."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _shapes(repository: str, filename: str) -> dict[str, list[int]]:
    """The shapes of an SAE's tensors, read from its file, which SAELens fetches anyway."""
    from huggingface_hub import hf_hub_download
    from safetensors import safe_open

    with safe_open(hf_hub_download(repository, filename), "pt") as file:
        return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - it is no mapping
