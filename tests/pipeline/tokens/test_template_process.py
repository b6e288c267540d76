"""The program that renders chat templates, called in this process: what templates see, and what is refused them."""

import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from actkit.pipeline.tokens import template_process
from actkit.pipeline.tokens.template_process import main, rendered

DATE = "2026-03-05"


def text(template: str, **variables: Any) -> str:
    return rendered({"template": template, "variables": variables, "date": DATE}).decode()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ a }} and {{ b['c'] }}", "1 and 2"),
        ("{% for x in b %}{{ x }}{% break %}{% endfor %}", "c"),
        ("{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "13"),
        ("a\n{% if true %}\n  b\n{% endif %}\nc", "a\n  b\nc"),
        ("{% generation %}said{% endgeneration %}", "said"),
        ("{{ strftime_now('%d.%m.%Y') }}", "05.03.2026"),
        ("{{ {'x': 'ü<'} | tojson }}", '{"x": "ü<"}'),
        ("{{ {'b': 1, 'a': [1]} | tojson(indent=1, sort_keys=true) }}", '{\n "a": [\n  1\n ],\n "b": 1\n}'),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{% set s = namespace(n=0) %}{% for x in [1, 2] %}{% set s.n = s.n + x %}{% endfor %}{{ s.n }}", "3"),
        ("{{ dict(x=1).x }}{{ dict.fromkeys(['k'], 2).k }}", "12"),
        ("{{ nothing }}", ""),
    ],
)
def test_what_a_template_may(template: str, expected: str) -> None:
    assert text(template, a=1, b={"c": 2}) == expected


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ [1, 2] | random }}", "draws at random"),
        ("{{ lipsum(5) }}", "draws at random"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ namespace(__class__=1) }}", "a namespace has no name '__class__'"),
        ("{% set s = namespace() %}{% set s._x = 1 %}", "a namespace has no name '_x'"),
        ("{{ dict.mro() }}", "no attribute 'mro'"),
        ("{{ a.append(1) }}", "unsafe|not safely callable"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_what_it_may_not(template: str, says: str) -> None:
    with pytest.raises(jinja2.exceptions.TemplateError, match=says):
        text(template, a=[1])


def test_a_text_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_process, "MOST", 100)
    assert len(text("{% for x in range(100) %}a{% endfor %}")) == 100
    with pytest.raises(jinja2.exceptions.TemplateError, match="more than 100 characters"):
        text("{% for x in range(101) %}a{% endfor %}")


def test_half_a_character_comes_back_as_it_went() -> None:
    assert rendered({"template": "{{ x }}", "variables": {"x": "\ud83d"}, "date": DATE}) == b"\xed\xa0\xbd"


def answers(monkeypatch: pytest.MonkeyPatch, *requests: Any) -> list[tuple[dict[str, Any], bytes]]:
    """What the program writes for requests, each a line: the line that it answers, and the text after it."""
    lines = b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in requests)
    out = io.BytesIO()
    bounds: list[tuple[int, int]] = []
    monkeypatch.setattr(template_process, "bound", lambda memory, seconds: bounds.append((memory, seconds)))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    main(512 << 20, 9)
    assert bounds == [(512 << 20, 9)] * len(requests), "time is given anew to each"
    out.seek(0)
    found = []
    while line := out.readline():
        answer = json.loads(line)
        found.append((answer, out.read(answer.get("bytes", 0))))
    return found


def test_each_request_has_an_answer_and_none_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"template": "{{ x }}\n", "variables": {"x": "ü\nz"}, "date": DATE}
    looped = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"
    found = answers(
        monkeypatch,
        request,
        {**request, "template": "{{ raise_exception('" + "no" * 2000 + "') }}"},
        b"{\n",
        {**request, "template": looped},
        {**request, "template": "{{ 1 / 0 }}"},
        request,
    )
    assert found[0] == ({"bytes": 4}, "ü\nz".encode()) == found[-1]
    assert found[1][0]["refused"] == ("no" * 2000)[:2000]
    assert [sorted(answer) for answer, _ in found] == [["bytes"], *[["refused"]] * 4, ["bytes"]]
    assert found[3][0]["refused"] == "it calls itself without end" and found[4][0]["refused"] == "division by zero"


def test_memory_that_ran_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_request: Any) -> bytes:
        raise MemoryError

    monkeypatch.setattr(template_process, "rendered", full)
    assert answers(monkeypatch, {})[0][0] == {"refused": "it takes more than 512 MB"}
