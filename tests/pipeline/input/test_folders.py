"""Folders of input: nothing in them is left out because it cannot be looked at."""

import os
import re
from pathlib import Path

import pytest

from actkit.errors import InputError
from actkit.pipeline.input.folders import below, check_links, hidden
from actkit.pipeline.input.sources import find


def write(folder: Path) -> None:
    for name in ("1.jsonl", "in/2.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"text": "a"}\n', encoding="utf-8")


@pytest.mark.parametrize("closed", [".", "in"])
def test_a_folder_that_cannot_be_listed_ends_the_run(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One within another was left out without a word; the outermost was `no such file`."""
    write(tmp_path)
    assert len(find(str(tmp_path)).files) == 2
    shut, access = tmp_path / closed, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != shut and access(path, mode))
    with pytest.raises(InputError, match=f"^{re.escape(str(shut))}: permission denied"):
        find(str(tmp_path))


@pytest.mark.parametrize("pattern", ["**/*.jsonl", "**", "*/*.jsonl", "*/deep/3.jsonl", "i[n]/**/3.jsonl"])
@pytest.mark.parametrize("closed", ["in", "in/deep"])
def test_a_pattern_passes_over_no_closed_folder(
    pattern: str, closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files were left out without a word."""
    write(tmp_path)
    (tmp_path / "in/deep").mkdir()
    (tmp_path / "in/deep/3.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    shut, access = tmp_path / closed, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != shut and access(path, mode))
    if (pattern, closed) == ("*/*.jsonl", "in/deep"):  # nothing of it is asked for
        assert find(str(tmp_path / pattern)).files == (str(tmp_path / "in/2.jsonl"),)
        return
    with pytest.raises(InputError, match=f"^{re.escape(str(shut))}: permission denied"):
        find(str(tmp_path / pattern))


def test_a_file_in_a_closed_folder_is_not_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(InputError, match="1.jsonl: permission denied"):
        find(str(tmp_path / "1.jsonl"))


def test_links_in_a_circle_are_called_that(tmp_path: Path) -> None:
    """The one was said to lead to the other, which was there."""
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.jsonl").symlink_to(f"{other}.jsonl")
    for where in ("a.jsonl", "*.jsonl", "."):
        with pytest.raises(InputError, match="this link leads in a circle"):
            find(str(tmp_path / where))


def test_what_lies_below_and_what_is_hidden(tmp_path: Path) -> None:
    """Only below the folder: one may itself lie in a folder whose name begins with a dot, such as a cache."""
    folder = tmp_path / ".cache" / "texts"
    for name in ("1.jsonl", "in/2.jsonl", ".git/3.jsonl", "in/.4.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert {path.relative_to(folder).as_posix() for path in below(folder)} == {"1.jsonl", "in", "in/2.jsonl"}
    assert hidden(Path("in/.4.jsonl")) and hidden(Path(".git/3.jsonl")) and not hidden(Path("in/2.jsonl"))


def test_a_link_is_followed_where_it_leads_somewhere(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").touch()
    (tmp_path / "good").symlink_to("1.jsonl")
    (tmp_path / "lost").symlink_to("2.jsonl")
    check_links([tmp_path / "1.jsonl", tmp_path / "good", tmp_path / "is not there"])
    with pytest.raises(InputError, match=r"lost: this link leads to 2.jsonl, which is not there") as error:
        check_links([tmp_path / "good", tmp_path / "lost"])
    assert error.value.hint == "fetch the file again"
