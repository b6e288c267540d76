"""Stored token ids are compared with those of the stored text, however a run began it; a difference says where."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actkit.config import Bos
from actkit.verify.recompute import retokenize
from actkit.verify.recompute.retokenize import Retokenized, Retokenizer, difference
from actkit.verify.recompute.stored import StoredSequence
from tests.conftest import small_tokenizer

RUN = Path("run")


@dataclass
class Words:
    """A tokenizer of one token a character, which begins with BOS where it is asked for special tokens."""

    chat_template: str | None = None
    adds_bos: bool = True
    bos_token_id: int | None = 1

    def __call__(self, text: str, add_special_tokens: bool, return_offsets_mapping: bool) -> dict[str, list[int]]:
        ids = [1 if character == "^" else ord(character) for character in text]
        return {"input_ids": [1] * (add_special_tokens and self.adds_bos) + ids}


def how(bos: Bos = "auto", chat: bool | None = False, **about: Any) -> Retokenizer:
    tokenizer: Any = Words(**about)
    return Retokenizer(tokenizer, bos, chat)


def stored(text: str, ids: list[int], role: str | None = None, **row: Any) -> StoredSequence:
    about = {"record_id": 0, "sequence_id": 0, "side": None, "chunk": None, "n_truncated": 0, "text": text, **row}
    return StoredSequence(about, np.array(ids), np.zeros(len(ids), dtype=np.bool_), (role,) * len(ids))


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
    assert vars(seen(how(), stored("ab", [9], side="shared"))) == vars(Retokenized(not_defined=1))


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
    plain = way.ids(text, "always")
    monkeypatch.setattr(retokenize, "IN_ONE_PIECE", 50)
    assert way.ids(text, "always").tolist() == plain.tolist() and plain[0] == 1
    assert way.ids(text, "never").tolist() == plain[1:].tolist()


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
    plain = [stored("ab", [A, B], chunk=0), stored("c", [C], chunk=1)]
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
