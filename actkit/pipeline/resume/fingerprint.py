"""`fingerprint` holds all that the rows of a run depend on, besides its input.

A run is continued only if its fingerprint is the same.

The device, the batch budget and the kernel that finds features are no part of it: they change no row beyond rounding.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

from actkit.backends.saes.sae import Sae
from actkit.backends.tensors import of_weights
from actkit.errors import RunError
from actkit.pipeline.digests import canonical
from actkit.pipeline.recipe import Job
from actkit.runs.facts import differing
from actkit.schemas import SCHEMA_VERSION

CHANGES_NO_ROW = tuple("out device device_map sae_dtype batch_tokens verify".split())
"""Options that may differ between the beginning of a run and its continuation."""
OF_MODEL = ("dtype", "attn", "quantize", "backend", "allow_pickle", "trust_remote_code")
"""Fields of a `ModelSpec` that rows depend on, besides its name and revision."""
SHOWN = 3
"""Most differences that an error names."""


def fingerprint(job: Job) -> dict[str, Any]:
    """Key → value, plain JSON; options as `option.NAME`, SAEs as `sae.NAME`.

    Weights are digested as they are in memory (see `Model.weights_digest`), so that a model that the caller loaded is
    covered too.
    """
    recipe, about = job.recipe, job.model.description
    found: dict[str, Any] = {
        "command": recipe.command,
        **{f"detected.{name}": value for name, value in recipe.detected.items()},
        **{f"rules.{name}": value for name, value in recipe.rules.plain().items()},
        "model": about.spec.name,
        "revision": about.revision,
        **{name: getattr(about.spec, name) for name in OF_MODEL},
        "weights": job.model.weights_digest(),
        "tokenizer": _of_tokenizer(about.tokenizer),
        "hook_points": [str(point) for point in job.hook_points],
        "saes": list(recipe.health),
        **{f"sae.{name}": _of_sae(health.sae) for name, health in recipe.health.items()},
        "store_dtype": job.output.store_dtype,
        "on_bad_record": job.output.on_bad_record,
        "max_samples": job.output.max_records,
        "shard_sequences": job.batch.shard_sequences,
        "shard_mb": job.batch.shard_mb,
        "schema_version": SCHEMA_VERSION,
        "actkit": importlib.metadata.version("actkit"),
    }
    # `found` already has the resolved values of options of the same names.
    own = {name: value for name, value in job.options.items() if name not in (*CHANGES_NO_ROW, *found)}
    plain: dict[str, Any] = json.loads(canonical(found | {f"option.{name}": value for name, value in own.items()}))
    return plain


def check_same(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
    """Raise RunError, naming the differences, unless the run at `where` was begun with this fingerprint."""
    keys = differing(old, new)
    if not keys:
        return
    was, now = old.get("schema_version"), new.get("schema_version")
    if isinstance(was, int) and was != now:
        age = "an older" if was < (now or 0) else "a newer"
        raise RunError(
            f"{where} was begun by {age} actkit: schema version {was}, and this one's is {now}",
            "finish it with the actkit that began it, or start again with --overwrite",
        )
    named = [f"{key.removeprefix('option.')} was {_short(old, key)}, is {_short(new, key)}" for key in keys]
    more = f"; and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    raise RunError(
        f"{where} was begun differently: {'; '.join(named[:SHOWN])}{more}",
        "give what it was begun with, choose another --out, or start again with --overwrite",
    )


def _short(values: Mapping[str, Any], key: str) -> str:
    text = json.dumps(values[key], ensure_ascii=False) if key in values else "absent"
    return text if len(text) <= 40 else f"{text[:18]}…{text[-18:]}"


def _of_tokenizer(tokenizer: Any) -> str:
    """Return the sha256 of a fast tokenizer as JSON, with its chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    text = backend.to_str() if backend is not None else ""
    return hashlib.sha256(f"{text}\n{tokenizer.chat_template}".encode()).hexdigest()


def _of_sae(sae: Sae) -> str:
    """Return the sha256 of an SAE's name, hook point, sizes, architecture and facts, and of a digest of its weights."""
    says = canonical([sae.name, str(sae.hook_point), sae.d_in, sae.d_sae, sae.architecture, sae.facts])
    return hashlib.sha256(f"{says}\n{of_weights(sae.weights)}".encode()).hexdigest()
