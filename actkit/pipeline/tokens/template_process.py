"""The program of the process in which chat templates are rendered; `templates` starts it, and nothing imports it.

A template is a program of a model's author. Here it runs in jinja2's sandbox. The system bounds what the sandbox does
not: memory by RLIMIT_AS, time by RLIMIT_CPU, which ends the process. A template has the variables that `transformers`
gives it (`raise_exception`, `strftime_now`, `namespace`, `dict`, the filter `tojson`, loop controls,
`{% generation %}`), but sees one fixed date, and may draw nothing at random.

Each request is a line of JSON: {"template", "variables", "date"}. Each answer is a line of JSON: {"bytes"}, with the
text after it in UTF-8, or {"refused"} with the reason.
"""

import json
import sys
import time
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox

MOST = 1 << 26
"""Most characters of a rendered text."""


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks a model's answer, for training; its contents are rendered like any other text."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own way to say it

    def parse(self, parser: "jinja2.parser.Parser") -> Any:
        """Return the statements between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Space(jinja2.utils.Namespace):
    """A namespace that refuses names beginning with an underscore, by which templates could leave the sandbox."""

    def __init__(*args: Any, **named: Any) -> None:
        own, *rest = args
        values = dict(*rest, **named)
        jinja2.utils.Namespace.__init__(own)
        for name, value in values.items():
            own[name] = value

    def __setitem__(self, name: Any, value: Any) -> None:
        if not isinstance(name, str) or name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace has no name {name!r}")
        super().__setitem__(name, value)


class Dictionary:
    """`dict(…)` and `dict.fromkeys(…)`, and nothing else of the class."""

    def __call__(self, *args: Any, **named: Any) -> dict[Any, Any]:
        """Make a dictionary."""
        return dict(*args, **named)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """Make a dictionary of equal values."""
        return dict.fromkeys(*args)


def refuse(message: object) -> NoReturn:
    """Raise the template's own error; templates call it as `raise_exception`."""
    raise jinja2.exceptions.TemplateError(str(message))


def drawn(*_: object, **__: object) -> NoReturn:
    """Refuse; stands in for jinja2's `random` and `lipsum`."""
    raise jinja2.exceptions.TemplateError("it draws at random, so that no run of it could be repeated")


def as_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as the filter `tojson` of `transformers` does; jinja2's own filter escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=8)
def compiled(template: str, date: str) -> jinja2.Template:
    """Compile a template with the date that it sees."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters |= {"tojson": as_json, "random": drawn}
    now = datetime.fromisoformat(date)
    environment.globals |= {
        "raise_exception": refuse,
        "strftime_now": lambda form: now.strftime(form),
        "dict": Dictionary(),
        "namespace": Space,
        "lipsum": drawn,
    }
    return environment.from_string(template)


def rendered(request: dict[str, Any]) -> bytes:
    """Render the text of one request, in UTF-8. Raises whatever the template raises."""
    parts, size = [], 0
    for part in compiled(request["template"], request["date"]).generate(**request["variables"]):
        parts.append(part)
        size += len(part)
        if size > MOST:
            raise jinja2.exceptions.TemplateError(f"it makes more than {MOST:,} characters of them")
    return "".join(parts).encode("utf-8", "surrogatepass")


def bound(memory: int, seconds: int) -> None:
    """Bound this process's address space, in bytes, and the processor time until the next call."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, int(time.process_time()) + 1 + seconds)):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(memory: int, seconds: int) -> None:
    """Answer requests until there are no more, each within `memory` bytes and `seconds` of processor time."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := requests.readline():
        bound(memory, seconds)
        text = b""
        try:
            text = rendered(json.loads(line))
            answer: dict[str, Any] = {"bytes": len(text)}
        except MemoryError:
            answer = {"refused": f"it takes more than {memory >> 20:,} MB"}
        except RecursionError:
            answer = {"refused": "it calls itself without end"}
        except Exception as error:
            answer = {"refused": str(error)[:2000] or type(error).__name__}
        del line
        answers.write(json.dumps(answer).encode() + b"\n" + text)
        answers.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
