"""A file of options is read strictly: what is no mapping, stands twice or never ends is an error with its line."""

import os
from pathlib import Path

import pytest

from actkit.cli.options.config_file import MOST, MOST_NODES, read_options
from actkit.errors import UsageError


def read(folder: Path, text: str | bytes) -> dict[str, object]:
    path = folder / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_options(path)


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(UsageError) as error:
        read(folder, text)
    assert "\n" not in error.value.message
    return error.value.message.replace(f"--config {folder}/", "")


def test_keys_are_options_and_values_what_yaml_says(tmp_path: Path) -> None:
    text = "max-samples: 3\nlayers: 1,2\nhook_point: [a, b]\nchat: true\nseed:\n3: x\n"
    expected = {"max_samples": 3, "layers": "1,2", "hook_point": ["a", "b"], "chat": True, "seed": None, "3": "x"}
    assert read(tmp_path, text) == expected == read(tmp_path, b"\xef\xbb\xbf" + text.encode())
    assert read(tmp_path, "a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3: a is set in line 1 already"),
        ("max-samples: 1\nmax_samples: 2\n", "x.yaml:2: max_samples is set in line 1 already"),
        ("", "x.yaml: no mapping of options to values"),
        ("- a\n- b\n", "x.yaml: no mapping of options to values"),
        ("text\n", "x.yaml: no mapping of options to values"),
        ("a: 1\nb: [1, 2\n", "x.yaml:3: not YAML ("),
        ("a: b: c\n", "x.yaml:1: not YAML ("),
        ("a: !!python/object:os.system x\n", "x.yaml:1: not YAML ("),
        ("a: 2026-02-30\n", "x.yaml: not YAML ("),
        ("a: !!bool x\n", "x.yaml: not YAML ("),
        (b"a: \xff\n", "x.yaml: not YAML ("),
        ("a: " + "[" * 700 + "]" * 700, "x.yaml: nested too deeply"),
        ("a: &x [1, *x]\n", f"x.yaml: more than {MOST_NODES:,} values, once its aliases are followed"),
        ("a: 1\n" * (MOST // 5 + 1), f"x.yaml: longer than {MOST:,} bytes"),
    ],
)
def test_what_no_file_of_options_is(tmp_path: Path, text: str | bytes, says: str) -> None:
    assert refused(tmp_path, text).startswith(says)


def test_aliases_of_aliases_are_counted_before_they_are_followed(tmp_path: Path) -> None:
    lines = ["l0: &l0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "once its aliases are followed" in refused(tmp_path, "\n".join(lines))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "nothing", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=why) as error:
            read_options(path)
        assert error.value.hint == "give a YAML file of options"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no mapping of options"):
        read_options(tmp_path / "pipe")
