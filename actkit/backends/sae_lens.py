"""SAELens: its registry and its SAEs. Only this file imports sae_lens.

An SAE is read before the model, since it says which hook point of which model it reads and how: with BOS or without,
with centred weights, with heads laid side by side. Its metadata answers None for any misspelt name, so every field is
read here, once.
"""

import difflib
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from actkit.backends.explain import quiet_hub
from actkit.backends.sae import Sae
from actkit.bundled import NAME, SAES
from actkit.config import SaeSpec
from actkit.errors import ModelError, UsageError
from actkit.hooks import HookPoint

HARMLESS = (
    "fold_ln",
    "center_unembed",
    "fold_value_biases",
    "refactor_factored_attn_matrices",
    "n_devices",
    "device_map",
)
"""Options of loading that do not change what a hook point of a model loaded without weight processing reads."""


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

    bundled = Release(NAME, NAME, tuple(sorted(path.name for path in SAES.glob("blocks.*"))), "bundled")
    known = {
        name: Release(name, entry.model, tuple(entry.saes_map), entry.repo_id)
        for name, entry in get_pretrained_saes_directory().items()
    }
    return {NAME: bundled, **known}


def load(spec: SaeSpec, device: str) -> Sae:
    """Load one SAE in float32.

    Raises UsageError for a release or an id that is not known, with the nearest ones; ModelError for files that cannot
    be read, and for transcoders, which read one hook point and write another.
    """
    if spec.path is not None:
        return _described(_from_disk(Path(spec.path), device), Path(spec.path).name)
    if spec.release is None or spec.sae_id is None:
        raise UsageError("an SAE is a release and an id, or a directory", "--sae-release R --sae-id I, or --sae DIR")
    if spec.release == NAME:
        folder = SAES / spec.sae_id
        if "/" in spec.sae_id or not folder.is_dir():
            raise _unknown_id(spec.release, spec.sae_id, releases()[NAME].sae_ids)
        return _described(_from_disk(folder, device), f"{spec.release}/{spec.sae_id}")
    if "/" not in spec.release:
        known = releases()
        if spec.release not in known:
            raise unknown_release(spec.release)
        if spec.sae_id not in known[spec.release].sae_ids:
            raise _unknown_id(spec.release, spec.sae_id, known[spec.release].sae_ids)
    return _described(_from_registry(spec.release, spec.sae_id, device), f"{spec.release}/{spec.sae_id}")


def unknown_release(release: str) -> UsageError:
    """The error for a release that is not in the registry, with the nearest ones."""
    near = difflib.get_close_matches(release, releases(), n=5, cutoff=0.4)
    hint = f"the nearest are {', '.join(near)}" if near else "actkit saes lists the releases"
    return UsageError(f"--sae-release {release} is not known", hint)


def _unknown_id(release: str, sae_id: str, ids: tuple[str, ...]) -> UsageError:
    near = difflib.get_close_matches(sae_id, ids, n=5, cutoff=0.3) or list(ids[:5])
    return UsageError(f"{release} has no SAE {sae_id}", f"the nearest of its {len(ids)} are {', '.join(near)}")


def _from_disk(path: Path, device: str) -> Any:
    from sae_lens import SAE

    if not (path / "cfg.json").is_file():
        raise ModelError(f"{path}: no SAE in SAELens's format", "it has cfg.json and sae_weights.safetensors")
    with _explained(str(path), "fetch its files again"):
        return SAE.load_from_disk(path, device=device, dtype="float32")


def _from_registry(release: str, sae_id: str, device: str) -> Any:
    from sae_lens import SAE

    with _explained(f"{release}/{sae_id}", "check the connection, or that its files are in the local cache"):
        return SAE.from_pretrained(release, sae_id, device=device, dtype="float32")


@contextmanager
def _explained(name: str, hint: str) -> Iterator[None]:
    """Turn whatever SAELens, the hub or a damaged file raises into one sentence and a hint."""
    quiet_hub()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names, and about how to load the model, which is read off here
            yield
    except Exception as error:
        raise ModelError(f"{name}: the SAE cannot be loaded ({_line(error)})", hint) from error


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _described(sae: Any, name: str) -> Sae:
    facts = {key: value for key, value in sae.cfg.metadata.to_dict().items() if value is not None}
    architecture = sae.cfg.architecture()
    if "transcoder" in architecture or facts.get("hook_name_out") not in (None, facts.get("hook_name")):
        raise ModelError(
            f"{name} is a transcoder: it reads one hook point and predicts another",
            "choose an SAE; actkit saes lists them",
        )
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", str(facts.get("hook_name", "")))
    if match is None:
        raise ModelError(f"{name} does not say which hook point it reads", "its cfg.json needs hook_name")
    point = HookPoint(int(match[1]), match[2])
    if facts.get("hook_head_index") is not None:
        raise ModelError(f"{name} reads a single head ({facts['hook_head_index']})", "actkit reads whole hook points")
    if sae.cfg.reshape_activations == "hook_z":
        sae.turn_off_forward_pass_hook_z_reshaping()  # heads arrive side by side already
    wants = dict(facts.get("model_from_pretrained_kwargs") or {})
    centred = bool(wants.pop("center_writing_weights", False))
    odd = sorted(set(wants) - set(HARMLESS))
    guesses = [f"option {key} of the model's loading has no effect here" for key in odd]
    if "prepend_bos" not in facts:
        guesses.append("prepend_bos is not stated and assumed true")

    def taken(x: torch.Tensor) -> torch.Tensor:
        x = x.to(torch.float32)
        # Centred writing weights subtract the mean over d_model from all that is written to the residual stream.
        if centred and point.name != "attn.hook_z":
            x = x - x.mean(-1, keepdim=True)
        return x

    def encode(x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = sae.encode(taken(x))
        return found.to_dense() if found.is_sparse else found

    def reconstruct(x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        # What an SAE takes out of its input at run time, such as a layer norm's scale, decode puts back.
        result: torch.Tensor = sae.decode(features)
        return result + (x.to(torch.float32) - taken(x))

    def cosines(directions: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = sae.W_dec.detach()
        with torch.inference_mode():
            unit = directions.to(rows) / directions.to(rows).norm(dim=1, keepdim=True)
            found: torch.Tensor = (unit @ rows.T) / rows.norm(dim=1).clamp_min(1e-12)
        return found

    return Sae(
        name,
        point,
        sae.cfg.d_in,
        sae.cfg.d_sae,
        architecture,
        encode,
        reconstruct,
        facts.get("model_name"),
        facts.get("context_size"),
        bool(facts.get("prepend_bos", True)),
        facts.get("neuronpedia_id"),
        tuple(guesses),
        {**facts, "architecture": architecture, "centred_input": centred},
        cosines,
    )
