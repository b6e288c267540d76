"""Checksums are what any other tool makes of the same bytes: a reader can hold a file against its manifest."""

import hashlib
import json
from pathlib import Path

from actkit.runs.atomic_files import of_facts, of_file

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""sha256 of the bytes abc (NIST, FIPS 180-2, appendix B.1)."""


def test_a_files_checksum_is_its_sha256(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc")
    assert of_file(file) == ABC
    longer = bytes(range(256)) * (1 << 13) + b"end"  # longer than what is read at once
    file.write_bytes(longer)
    assert of_file(file) == hashlib.sha256(longer).hexdigest()


def test_a_manifests_checksum_does_not_depend_on_the_order_of_its_keys() -> None:
    facts = {"part": 3, "tables": {"tokens": {"rows": 2, "bytes": 10}}, "state": None}
    backwards = {"state": None, "tables": {"tokens": {"bytes": 10, "rows": 2}}, "part": 3}
    text = '{"part": 3, "state": null, "tables": {"tokens": {"bytes": 10, "rows": 2}}}'
    assert json.loads(text) == facts
    assert of_facts(facts) == of_facts(backwards) == hashlib.sha256(text.encode()).hexdigest()
    assert of_facts({**facts, "part": 4}) != of_facts(facts)
