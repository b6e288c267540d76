"""Cases for `calls`: a configuration file of somebody else's making."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.calls import check_whole

WHOLE = (
    "command: capture\nprompt: [ab, cd]\nmodel: tiny\nlayers: [0, 1]\npositions: last\nbatch_tokens: 64\ndtype: auto\n"
    "max_length: 16\non_bad_record: skip\nbos: auto\nquiet: true\nplan: true\nchat: false\n"
    "hook_point: [resid_post]\n"
)
VALUES = [
    *(
        "null",
        "~",
        "true",
        "no",
        "-1",
        "0",
        "3",
        "1.5",
        ".inf",
        ".nan",
        "99999999999999999999",
        "0x1f",
        "1_000",
        "1e400",
    ),
    *('""', "x", "'x'", '"\\e[31mred"', '"\\0"', '"\\ud800"', "[a, b]", "[[1], [2]]", "{a: b}", "[{a: 1}]", "[]", "{}"),
    *(
        "2026-02-30",
        "2026-11-28",
        "2026-11-28T01:02:03Z",
        "12:30:45",
        "!!binary aGVsbG8=",
        "!!set {a, b}",
        "!!omap [a: 1]",
    ),
    *(
        "!!python/object/apply:os.system ['true']",
        "!!int x",
        "!!float x",
        "!!bool maybe",
        "!!timestamp x",
        "!x y",
        "*a",
    ),
    *(
        "&a [*a]",
        "&a {b: *a}",
        "|\n  a\n  b",
        ">-\n  a",
        "? a",
        "- a",
        "@x",
        "`x`",
        "%x",
        "a: b: c",
        "'",
        '"',
        "[",
        "{",
    ),
    *(
        "../../etc/passwd",
        "/dev/zero",
        "/dev/stdin",
        "~/x",
        "hf://x/y",
        "s3://x/y",
        "https://x/y",
        "$(true)",
        "x" * 5000,
    ),
    *(
        "tiny",
        "gpt2/../x",
        "auto",
        "all",
        "-1..1",
        "0..99999999999",
        "0:99999999",
        "[1, [2]]",
        "-0",
        "+",
        "·",
        "\u202e",
        "١",
    ),
]
LINES = [
    *(
        "<<: *x",
        "<<: {a: 1}",
        "? [a, b]\n: c",
        "1: 2",
        "null: 3",
        "true: x",
        "[a]: b",
        "{a: b}: c",
        "---",
        "...",
        "%YAML 9.9",
    ),
    *(
        "model:\n  name: tiny",
        "dataset:\n  path: x",
        "output:\n  path: {a: b}",
        "logging: 3",
        "sae: [x]",
        "x: y",
        "\tx: y",
    ),
    *(
        "prompt: a\nprompt: b",
        "out: .",
        "out: ''",
        "config: config.yaml",
        "preset: x",
        "resume: true",
        "overwrite: true",
    ),
    *('"\\e[2J": 1', "\ufeffx: 1", "a\u0085b: c", "#", "- a", "x", "layers: *nowhere", "sae: {a: [b]}", "verify: x"),
]


def warm(actkit: Callable[[list[str]], object]) -> None:
    """A whole configuration, and what is imported for a plan."""
    Path("whole.yaml").write_text(WHOLE)
    check_whole(actkit, "capture", "--config", "whole.yaml", "--plan", "-q", "-o", "warm")


def case(folder: Path, number: int) -> tuple[list[str], list[str], bool]:
    """What was done to the file, and the command line."""
    draw = random.Random(f"yaml {number}")
    path = folder / "config.yaml"
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    for name in ("out", "out.partial"):
        shutil.rmtree(name, ignore_errors=True)
    lines = WHOLE.splitlines()
    steps = []
    for _ in range(draw.choice([1, 1, 2, 3])):
        step = draw.choice([_value, _value, _value, _value, _line, _line, _bytes, _nested, _aliases])
        steps.append(step.__name__.strip("_"))
        lines = step(lines, draw)
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    odd = draw.randrange(40)
    if odd == 0:
        os.mkfifo(path)
    elif odd == 1:
        path.symlink_to(draw.choice(["/dev/zero", "config.yaml", "/nowhere", "/"]))
    elif odd == 2:
        path.mkdir()
    elif odd == 3:
        with path.open("wb") as file:
            file.write(data)
            file.truncate(draw.choice([300_000_000, 1 << 33]))
    elif odd == 4:
        path.write_bytes(data[: draw.randrange(len(data))] + draw.choice([b"\xff", b"\0", b"\xef\xbb\xbf"]) + data)
    else:
        path.write_bytes(data)
    name = "capture" if draw.randrange(5) else draw.choice(["dpo", "concept", "sae-extract", "reward-detect", "steer"])
    return [*steps, str(odd)], [name, "--config", "config.yaml", "--plan", "-q", "-o", "out"], False


def _value(lines: list[str], draw: random.Random) -> list[str]:
    at = draw.randrange(len(lines))
    key = lines[at].partition(":")[0]
    return [*lines[:at], f"{key}: {draw.choice(VALUES)}", *lines[at + 1 :]]


def _line(lines: list[str], draw: random.Random) -> list[str]:
    at = draw.randrange(len(lines))
    return [*lines[:at], draw.choice(LINES), *lines[at:]]


def _bytes(lines: list[str], draw: random.Random) -> list[str]:
    text = list("\n".join(lines))
    text[draw.randrange(len(text))] = draw.choice(
        ["\x1b", "\0", "\ud800", "[", "{", "&", "*", "!", "|", "\t", ":", "\n"]
    )
    return "".join(text).split("\n")


def _nested(lines: list[str], draw: random.Random) -> list[str]:
    choice = draw.choice(["[", "{a: ", "- ", "? ", "!x "])
    return [*lines, f"x: {choice * draw.choice([100, 5_000, 50_000])}"]


def _aliases(lines: list[str], draw: random.Random) -> list[str]:
    """A billion of laughs: nine lists of nine times the one before."""
    bomb = ["a0: &a0 [lol, lol]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, draw.choice([3, 9, 30]))]
    key = draw.choice(["prompt", "layers", "model", "x", "sae", "hook_point"])
    return [*bomb, *(line for line in lines if not line.startswith(f"{key}:")), f"{key}: *a{len(bomb) - 1}"]
