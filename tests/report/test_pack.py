"""What a page carries can only be read as data, and is the same for the same value."""

import base64
import gzip
import json

import numpy as np

from actkit.report.pack import packed, safe_json

HOSTILE = "</script><!--&\u2028\u2029\ud800"


def test_no_character_is_left_that_html_or_javascript_obeys() -> None:
    text = safe_json({HOSTILE: [HOSTILE]})
    assert not set("<>&\u2028\u2029") & set(text) and json.loads(text) == {HOSTILE: [HOSTILE]}


def test_numbers_that_are_none_and_numpys_own_are_json() -> None:
    value = {
        "nan": float("nan"),
        "inf": [np.float32(np.inf)],
        "n": np.int64(3),
        "of": np.array([1.5, np.nan]),
        1: (None, True),
    }
    assert json.loads(safe_json(value)) == {"nan": None, "inf": [None], "n": 3, "of": [1.5, None], "1": [None, True]}


def test_the_same_value_is_packed_alike_and_unpacks() -> None:
    assert packed([HOSTILE]) == packed([HOSTILE])
    data = gzip.decompress(base64.b64decode(packed([HOSTILE])))
    assert json.loads(data.decode("utf-8", "surrogatepass")) == [HOSTILE]
