"""Stored token ids are compared with those of the stored text, however a run began it; a difference says where."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actkit.config import Bos
from actkit.verify.recompute import retokenize
from actkit.verify.recompute.retokenize import Retokenized, Retokenizer, difference
from actkit.verify.recompute.stored import StoredSequence
from tests.conftest import small_tokenizer
from tests.verify.tampering import put

RUN = Path("run")


@dataclass(eq=False)
class Words:
    """A tokenizer of one token a character, which begins with BOS where it is asked for special tokens."""

    chat_template: str | None = None
    adds_bos: bool = True
    bos_token_id: int | None = 1

    all_special_ids = (1,)

    def __call__(self, text: str, add_special_tokens: bool, return_offsets_mapping: bool) -> dict[str, list[Any]]:
        begin = add_special_tokens and self.adds_bos
        ids = [1 if character == "^" else ord(character) for character in text]
        spans = [(at, at + 1) for at in range(len(text))]
        return {"input_ids": [1] * begin + ids, "offset_mapping": [(0, 0)] * begin + spans}

    def batch_decode(self, ids: list[list[int]], **_: Any) -> list[str]:
        return [name_of(number) for (number,) in ids]

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [name_of(number) for number in ids]


def name_of(number: int) -> str:
    return "^" if number == 1 else chr(number)


def how(bos: Bos = "auto", chat: bool | None = False, **about: Any) -> Retokenizer:
    tokenizer: Any = Words(**about)
    return Retokenizer(tokenizer, bos, chat)


def stored(text: str, ids: list[int], role: str | None = None, **row: Any) -> StoredSequence:
    about = {"record_id": 0, "sequence_id": 0, "side": None, "chunk": None, "n_truncated": 0, "text": text}
    about |= {"parent_id": None, "start": 0, "char_offset": 0, **row}
    added = ids[0] == 1 and not text.startswith("^")
    starts = [max(at - added, 0) + about["char_offset"] for at in range(len(ids))]
    columns = {
        "token": [name_of(number) for number in ids],
        "char_start": starts,
        "char_end": [start + (at >= added) for at, start in enumerate(starts)],
        "is_special": [number == 1 for number in ids],
    }
    roles = (role,) * len(ids)
    return StoredSequence(about, np.array(ids), np.zeros(len(ids), dtype=np.bool_), roles, pa.table(columns))


def seen(way: Retokenizer, *record: StoredSequence) -> Retokenized:
    found = Retokenized()
    way.check(RUN, "part-00000.parquet", record, found)
    return found


A, B, C = 97, 98, 99


def test_the_same_ids_are_the_same_and_others_are_said() -> None:
    assert vars(seen(how(), stored("ab", [1, A, B]))) == vars(Retokenized(n=1, same=1))
    found = seen(how(), stored("ab", [1, A, C], sequence_id=7, record_id=3))
    assert found.wrong == ["record 3, sequence 7: token 2 is 99, but 98 when the text is tokenized again"]
    assert (found.n, found.same) == (1, 0)


@pytest.mark.parametrize(
    ("way", "text", "ids"),
    [
        (how("never"), "ab", [A, B]),
        (how("auto"), "ab", [1, A, B]),
        (how("auto", adds_bos=False), "ab", [A, B]),
        (how("always"), "ab", [1, A, B]),
        (how("always", adds_bos=False), "ab", [1, A, B]),
        (how("auto"), "^ab", [1, A, B]),  # a text that begins with BOS itself has one
        (how("always", adds_bos=False), "^ab", [1, A, B]),
        (how("never"), "^^ab", [1, 1, A, B]),
        (how("auto", chat=True), "^ab", [1, A, B]),  # a rendering has its own
        (how("always", chat=True), "ab", [A, B]),
    ],
)
def test_a_text_begins_as_the_run_began_it(way: Retokenizer, text: str, ids: list[int]) -> None:
    assert seen(way, stored(text, ids)).same == 1
    assert seen(way, stored(text, [*ids, 5])).same == 0
    assert seen(way, stored(text, ids[1:])).same == 0


def test_a_text_that_was_cut_has_so_many_ids_more() -> None:
    assert seen(how(), stored("abc", [1, A], n_truncated=2)).same == 1
    assert seen(how(), stored("abc", [1, A], n_truncated=1)).same == 0
    found = seen(how(), stored("abc", [1, A]))
    assert found.wrong == ["record 0, sequence 0: 2 tokens, but 4 when the text is tokenized again"]


def test_a_shared_beginning_is_not_defined() -> None:
    side = stored("ab", [1, A, B], sequence_id=1, parent_id=0, start=2)
    assert vars(seen(how(), stored("a", [1, A], side="shared"), side)) == vars(Retokenized(1, 1, not_defined=1))
    found = seen(how(), stored("x", [1, A], side="shared"), side)
    assert found.wrong == ["record 0, sequence 0: not the text that record 0, sequence 1 begins with"]
    assert seen(how(), stored("ab", [1, A], side="shared")).same == 0, "nothing goes on from it: it is a whole text"


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("token", "x", "token of token 1 is 'x', but 'a' by the tokenizer"),
        ("char_start", 1, "char_start of token 1 is 1, but 0 by the tokenizer"),
        ("char_end", 2, "char_end of token 1 is 2, but 1 by the tokenizer"),
        ("is_special", True, "is_special of token 1 is True, but False by the tokenizer"),
    ],
)
def test_a_token_is_called_and_stands_as_the_tokenizer_says(column: str, value: object, says: str) -> None:
    whole = stored("ab", [1, A, B])
    changed = replace(whole, spelled=put(column, 1, value)(whole.spelled))
    assert seen(how(), changed).wrong == [f"record 0, sequence 0: {says}"]
    assert seen(replace(how(), spells=False), changed).wrong == [], "a run of another version"


def test_roles_tell_a_rendering_where_the_run_may_have_both() -> None:
    way = how(chat=None, chat_template="{{ }}")
    assert seen(way, stored("ab", [A, B], role="user")).same == 1
    assert seen(way, stored("ab", [1, A, B], role="user")).same == 1, "or it is plain text of a person"
    assert seen(way, stored("ab", [A, B], role="prompt")).same == 0
    assert seen(how(chat=None), stored("ab", [A, B], role="user")).same == 0, "no template, no rendering"


def test_three_differences_are_kept_and_all_counted() -> None:
    found = seen(how(), *[stored("ab", [1]) for _ in range(5)])
    assert (found.n, found.same, len(found.wrong)) == (5, 0, 3)


def test_a_long_text_is_tokenized_in_another_way_to_the_same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    way = Retokenizer(small_tokenizer(), "always", chat=False)
    text = "One two three. " * 20 + "Über die Brücke."
    plain = way.tokens(text, "always").ids
    monkeypatch.setattr(retokenize, "IN_ONE_PIECE", 50)
    assert way.tokens(text, "always").ids.tolist() == plain.tolist() and plain[0] == 1
    assert way.tokens(text, "never").ids.tolist() == plain[1:].tolist()


@pytest.fixture
def document(monkeypatch: pytest.MonkeyPatch) -> list[StoredSequence]:
    """Three chunks of a document of one shard, each after BOS."""
    chunks = [
        stored(text, [1, *map(ord, text)], chunk=n, sequence_id=n, char_offset=2 * n)
        for n, text in enumerate(("ab", "cd", "e"))
    ]
    monkeypatch.setattr(retokenize, "read_document", lambda _run, _part, record: list(record))
    monkeypatch.setattr(retokenize, "text_of", lambda rows: "".join(row["text"] for row in rows))
    return chunks


def test_the_chunks_of_a_document_are_put_together_again(document: list[StoredSequence]) -> None:
    assert vars(seen(how(), *document)) == vars(Retokenized(n=3, same=3))
    document[1] = stored("cd", [1, C, C], chunk=1, sequence_id=1)
    found = seen(how(), *document)
    assert (found.n, found.same) == (3, 0)
    assert found.wrong[1].startswith("record 0, sequence 1: of its document, token 3 is 99, but 100 when")


def test_a_chunk_that_lacks_its_bos_is_named(document: list[StoredSequence]) -> None:
    document[2] = stored("e", [101], chunk=2, sequence_id=2)
    assert seen(how(), *document).wrong == ["record 0, sequence 2: the chunk does not begin with BOS (1)"]
    plain = [stored("ab", [A, B], chunk=0), stored("c", [C], chunk=1, char_offset=2)]
    assert seen(how("never"), *plain).same == 2


def test_a_document_of_several_shards_is_checked_once_and_one_that_is_not_there_not_at_all(
    document: list[StoredSequence], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Retokenized()
    monkeypatch.setattr(retokenize, "read_document", lambda *_: document)
    for _ in range(2):
        how().check(RUN, "part-00000.parquet", document[:1], found)
    assert (found.n, found.same, found.documents) == (3, 3, {0})
    monkeypatch.setattr(retokenize, "read_document", lambda *_: None)
    assert vars(seen(how(), *document)) == vars(Retokenized(not_defined=3))


def test_the_first_place_where_ids_differ() -> None:
    assert (
        difference(np.array([1, 2, 3]), np.array([1, 5, 6])) == "token 1 is 5, but 2 when the text is tokenized again"
    )
    assert difference(np.array([1]), np.array([1, 2])) == "2 tokens, but 1 when the text is tokenized again"
