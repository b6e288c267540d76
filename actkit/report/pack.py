"""Pack a run's data for a page, so that a browser can only ever read it as data."""

import base64
import gzip
import json
import math
from typing import Any

import numpy as np

ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters with which a text could end the element that it stands in, or its line."""


def safe_json(value: Any) -> str:
    """JSON without NaN, which is no JSON, and without characters that have a meaning in HTML or JavaScript."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):  # NaN, or numbers of numpy: both are seldom, and slow to look for
        text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escape in ESCAPED.items():
        text = text.replace(character, escape)
    return text


def packed(value: Any) -> str:
    """JSON, gzipped without a date and in base64: it holds no tag, and the same value gives the same text."""
    return packed_bytes(safe_json(value).encode("utf-8", "surrogatepass"))


def packed_bytes(data: bytes) -> str:
    """Bytes gzipped without a date, in base64."""
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return str(value)
