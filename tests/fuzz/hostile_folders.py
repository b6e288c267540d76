"""Folders of models and SAEs of somebody else's making: whole ones, of which one to three things are as none has them.

A case is its number: the same number makes the same case everywhere.
"""

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

WHATEVER: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    2**31,
    2**40,
    2**63,
    10**30,
    1.5,
    -0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "12",
    "../../etc/passwd",
    "/dev/zero",
    "\x1b[31mred\x1b[0m\n",
    "\ud800",
    "a" * 5000,
    [],
    {},
    [1, "x", None],
    {"a": {"b": [{}]}},
]
TEXTS = [b"", b"[]", b"{}", b"null", b"3", b'"x"', b"{", b"\xff\xfe\x00", b"[" * 50_000, b'{"a":' * 5000, b"9" * 5000]
REGEXES = [
    "(",
    "[",
    "(?P<",
    "a{9999999}",
    "(a*)*b",
    "\\p{Nope}",
    "(?<=a+)b",
    "*",
    "\\",
    "(((((((((((a+)+)+)+)+)+)+)+)+)+)+",
]
TEMPLATES = [
    "{{ raise_exception('\x1b[31mno\x1b[0m') }}",
    "{% for m in messages %}{{ m.content }}",
    "{{ messages[99].content.x.y }}",
    "{{ 1 / 0 }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ 'a' * 10**10 }}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "\x1b]0;title\x07{{ messages[0].content }}",
    "",
    "{{ messages }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{{ self }}{{ cycler }}{{ joiner }}",
]
SLOW_TEMPLATES = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(10**18) %}{% endfor %}",
]
BIG = 100_000_000
Step = Callable[[Path, random.Random], None]
"""Changes something in a folder."""


def _files(folder: Path, *suffixes: str) -> list[Path]:
    """Those that can be read: a step before may have put a pipe there, or hundreds of MB."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    found = [path for path in found if path.stat().st_size < BIG]
    return [path for path in found if not suffixes or path.suffix in suffixes]


def _write(path: Path, data: bytes) -> None:
    """In the place of the file, which other folders may share."""
    path.unlink()
    path.write_bytes(data)


def json_node(folder: Path, draw: random.Random) -> None:
    """Any node of any document is lost, or is something else, or there is one more."""
    path = draw.choice(_files(folder, ".json"))
    document = json.loads(path.read_bytes())
    nodes = list(_nodes(document, 2000))
    inner, key = draw.choice(nodes)
    match draw.randrange(8):
        case 0:
            del inner[key]
        case 1 if isinstance(inner, dict):
            inner[draw.choice(["quantization_config", "auto_map", "rope_scaling", "x\x1b[2J", "layer_types"])] = (
                draw.choice(WHATEVER)
            )
        case 2 if isinstance(inner, list):
            inner.extend(inner * draw.choice([1, 50]))
        case _:
            inner[key] = draw.choice(WHATEVER)
    _write(path, json.dumps(document).encode())


def top_level(folder: Path, draw: random.Random) -> None:
    """A size, a name or a switch at the top of a configuration, where it counts most."""
    path = draw.choice([file for file in _files(folder, ".json") if file.name in ("config.json", "cfg.json")])
    document = json.loads(path.read_bytes())
    within = draw.choice([document, *(inner for inner in document.values() if isinstance(inner, dict))])
    within[draw.choice(sorted(within) or ["x"])] = draw.choice(WHATEVER)
    _write(path, json.dumps(document).encode())


def text(folder: Path, draw: random.Random) -> None:
    _write(draw.choice(_files(folder, ".json", ".jinja")), draw.choice(TEXTS))


def other_file(folder: Path, draw: random.Random) -> None:
    """Something else where a file should be."""
    path = draw.choice(_files(folder))
    data = path.read_bytes()
    path.unlink()
    ways: list[Callable[[], object]] = [
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("/nowhere"),
        lambda: path.mkdir(),
        lambda: path.write_bytes(data[: draw.randrange(max(len(data), 1))]),
        lambda: path.write_bytes(data[: len(data) // 2] + bytes([draw.randrange(256)]) + data[len(data) // 2 + 1 :]),
        lambda: None,
    ]
    draw.choice(ways)()


def extra_file(folder: Path, draw: random.Random) -> None:
    """A file more, of a name that a library may look for."""
    names = (
        "adapter_config.json",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.json",
        "processor_config.json",
        "configuration_x.py",
        "tokenizer.model",
        "vocab.json",
        "\x1b[2J.json",
        "new\nline.safetensors",
        "model-00001-of-00002.safetensors",
        "ae.pt",
        "sae.safetensors",
    )
    path = folder / draw.choice(names)
    if path.exists() or path.is_symlink():
        return
    ways: list[Callable[[], object]] = [
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.mkdir(),
        lambda: path.write_bytes(draw.choice(TEXTS)),
        lambda: shutil.copy(draw.choice(_files(folder)), path),
    ]
    draw.choice(ways)()


def header(folder: Path, draw: random.Random) -> None:
    """A safetensors header that lies: about its length, a type, a shape, or where a tensor is."""
    path = draw.choice(_files(folder, ".safetensors"))
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    about = json.loads(data[8 : 8 + length])
    name = draw.choice([entry for entry in about if entry != "__metadata__"])
    what = draw.randrange(9)
    lies: Any = draw.choice([[10**12], [2**62, 2], [-1], [], ["x"], [0], [1, 2, 3, 4], None, [1.5]])
    if what == 0:
        _write(path, struct.pack("<Q", draw.choice([0, 1, 2**40, 2**63, len(data), length + 9])) + data[8:])
        return
    if what == 1:
        about[name]["shape"] = lies
    elif what == 2:
        about[name]["dtype"] = draw.choice(["F64", "I8", "BOOL", "X", None, "F8_E4M3", "C64"])
    elif what == 3:
        about[name]["data_offsets"] = draw.choice([[0, 0], [0, 2**62], [10, 2], [-5, 4], ["a", "b"], [0], None])
    elif what == 4:
        about[draw.choice(["x", "\x1b[31m", "", "model.layers.99.x"])] = about.pop(name)
    elif what == 5:
        about.pop(name)
    elif what == 6:
        about["__metadata__"] = draw.choice([None, {"a": 1}, [], {"format": "\x1b[2J"}, {"format": "tf"}])
    elif what == 7:
        about[f"{name}2"] = about[name]
    else:
        about[name] = draw.choice(WHATEVER)
    head = json.dumps(about).encode()
    _write(path, struct.pack("<Q", len(head)) + head + data[8 + length :])


def index(folder: Path, draw: random.Random) -> None:
    """Weights in parts, of which the index tells where they are: outside of the folder, nowhere, or what is no name."""
    path = draw.choice([file for file in _files(folder, ".safetensors") if file.name == "model.safetensors"])
    data = path.read_bytes()
    about = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    secret = folder.parent / "secret.safetensors"
    shutil.copy(path, secret)
    path.unlink()
    outside = ["../secret.safetensors", str(secret.absolute()), "sub/../../secret.safetensors", "/dev/zero"]
    where = draw.choice([*outside, "nowhere.safetensors", "", ".", 3, None, ["x"], "a\x00b", "x" * 5000])
    names = [name for name in about if name != "__metadata__"]
    document: Any = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, where)}
    if draw.randrange(6) == 0:
        document["weight_map"] = draw.choice(WHATEVER)
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)  # a step before may have put a pipe there
    (folder / "model.safetensors.index.json").write_text(json.dumps(document))


def regex(folder: Path, draw: random.Random) -> None:
    """A tokenizer that splits, or replaces, by an expression that does not compile or takes long."""
    path = draw.choice([file for file in _files(folder, ".json") if file.name == "tokenizer.json"])
    document = json.loads(path.read_bytes())
    pattern = {"Regex": draw.choice(REGEXES)}
    if draw.randrange(2):
        document["pre_tokenizer"] = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    else:
        document["normalizer"] = {"type": "Replace", "pattern": pattern, "content": "\x1b"}
    _write(path, json.dumps(document).encode())


def template(folder: Path, draw: random.Random) -> None:
    """A chat template that raises, breaks out, never ends, or writes escape sequences."""
    source = draw.choice(SLOW_TEMPLATES if draw.randrange(60) == 0 else TEMPLATES)
    path = folder / "chat_template.jinja"
    path.unlink(missing_ok=True)
    path.write_text(source)


def big(folder: Path, draw: random.Random) -> None:
    """A document of hundreds of MB, which takes no room on the disk."""
    path = draw.choice(_files(folder, ".json"))
    path.unlink()
    with path.open("wb") as file:
        file.write(b'{"a": "')
        file.truncate(draw.choice([300_000_000, 1 << 33]))


def _nodes(value: Any, most: int) -> Any:
    """Places in a document: what holds it, and under which key; of a long list the first ones."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, child in inner[:most]:
        yield value, key
        yield from _nodes(child, 50)


OF_MODELS: tuple[Step, ...] = (
    *(json_node, json_node, json_node),
    *(top_level, top_level, top_level, top_level),
    *(text, other_file, extra_file, header, header, index, regex, template, big),
)
OF_SAES: tuple[Step, ...] = (
    *(json_node, json_node, json_node),
    *(top_level, top_level, top_level, top_level),
    *(text, other_file, other_file, extra_file, header, header, header, big),
)


def make(whole: Path, folder: Path, steps: tuple[Step, ...], number: int) -> list[str]:
    """The folder of case `number`, a copy of `whole` that shares what is not changed; returns what was done."""
    draw = random.Random(f"{whole.name} {number}")
    shutil.rmtree(folder.parent, ignore_errors=True)
    shutil.copytree(whole, folder, copy_function=os.link)
    done = []
    for step in draw.choices(steps, k=draw.choice([1, 1, 2, 3])):
        try:
            step(folder, draw)
            done.append(step.__name__)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error):
            continue  # it cannot be made after those before it
    return done
