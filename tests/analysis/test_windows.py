"""Texts around tokens: which are there twice."""

import numpy as np

from actkit.analysis.windows import windows_of

TEXTS = ("", "a", "b", "ab", "1234567", "12345678", "12345678x12345678", "12345678y12345678", "12345678x12345678 ")


def test_a_text_is_repeated_where_owner_text_and_place_of_the_token_are_equal() -> None:
    """Texts of equal ends are told apart, and texts shorter than what is looked at first."""
    draw = np.random.default_rng(0)
    texts = [TEXTS[at].encode() for at in draw.integers(0, len(TEXTS), 400)]
    before = np.array([draw.integers(0, len(text) + 1) if draw.random() < 0.5 else 0 for text in texts])
    own = np.array([min(1, len(text) - int(first)) for text, first in zip(texts, before, strict=True)])
    lengths = np.stack([before, own, np.array([len(text) for text in texts]) - before - own], axis=1)
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    windows = windows_of([np.arange(len(texts))], [lengths], data).taken(draw.permutation(len(texts)))
    owners = draw.integers(0, 4, len(texts))
    seen: set[tuple[int, bytes, int, int]] = set()
    expected = []
    for owner, at in zip(owners.tolist(), windows.order.tolist(), strict=True):
        key = (owner, texts[at], *lengths[at, :2].tolist())
        expected.append(key in seen)
        seen.add(key)
    assert windows.is_repeated(owners).tolist() == expected and 50 < sum(expected) < 390
