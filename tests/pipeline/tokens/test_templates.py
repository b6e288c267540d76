"""Chat templates are rendered as `transformers` renders them, under one date, in bounded time and memory."""

import gc
import os
import random
import signal
import string
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import ModelError, RecordError, UsageError
from actkit.pipeline.tokens.chat import Rendering, encode_chat
from actkit.pipeline.tokens.templates import DatedTokenizer, TemplateProcess, TemplateRefusedError, date_of
from actkit.recipes.prompt_response import encode_messages
from tests.conftest import small_tokenizer

FOLDER = Path(__file__).parents[2] / "data" / "chat_templates"
DATE = "2026-12-01T09:30:00"
CHAT = [
    {"role": "user", "content": "Two & <two>\n “é” 🙂?"},
    {"role": "assistant", "content": " 4.\n"},
    {"role": "user", "content": "{{ 7 * 7 }}{% raise %}"},
]
TOOL = {"type": "function", "function": {"name": "tide", "description": "é <b>", "parameters": {"type": "object"}}}
TOOLS = (
    "{% if tools %}<system>{{ tools | tojson }}{{ tools[0] | tojson(indent=2) }}{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)
EVERYTHING = """
{%- set ns = namespace(n=0, last=none) -%}
{%- macro put(role, text) -%}<{{ role }}>{{ text | trim }}<end>{%- endmacro -%}
{%- for message in messages -%}
    {%- if message.role == 'tool' -%}{%- continue -%}{%- endif -%}
    {%- set ns.n = ns.n + 1 -%}{%- set ns.last = message -%}
    {%- if message.role == 'assistant' -%}{% generation %}{{ put(message.role, message.content) }}{% endgeneration %}
    {%- else -%}{{ put(message['role'], message.get('content')) }}{%- endif -%}
{%- endfor -%}
{{ ns.n }} {{ dict(a=1) }} {{ dict.fromkeys([1], 2) }} {{ bos_token }}{{ eos_token | default('none') }}
{{ messages[0].content.split('<')[0].upper() }} {{ range(3) | list }} {{ 'x' * 3 ~ 4 }} {{ documents is none }}
{{ extra | default('unset') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
"""


def of(template: Any, **names: Any) -> Any:
    tokenizer = small_tokenizer(**names)
    tokenizer.chat_template = template
    return tokenizer


def dated_of(template: Any, process: TemplateProcess) -> DatedTokenizer:
    """One process for all tests: to start one takes longer than they do."""
    dated = DatedTokenizer(of(template), DATE)
    dated._process = process
    return dated


@pytest.fixture(scope="module")
def process() -> TemplateProcess:
    return TemplateProcess(seconds=1)


def render(process: TemplateProcess, template: str, **variables: Any) -> str:
    return process.render(template, variables, DATE)


@pytest.mark.parametrize("shape", [*sorted(path.stem for path in FOLDER.glob("*.jinja")), "everything", "tools"])
@pytest.mark.parametrize("asks", [True, False])
def test_a_template_renders_as_in_transformers(shape: str, asks: bool, process: TemplateProcess) -> None:
    own = {"everything": EVERYTHING, "tools": TOOLS}
    dated = dated_of(own.get(shape) or (FOLDER / f"{shape}.jinja").read_text(encoding="utf-8"), process)
    plain = dated.tokenizer
    for tools in (None, [TOOL]):
        options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": asks, "tools": tools, "extra": [1, "é"]}
        try:
            expected = plain.apply_chat_template(CHAT, **options)
        except Exception as error:
            with pytest.raises(TemplateRefusedError) as refused:
                dated.apply_chat_template(CHAT, **options)
            assert str(refused.value) == str(error)
            continue
        if "strftime_now" not in plain.chat_template:
            assert dated.apply_chat_template(CHAT, **options) == expected


def test_named_templates_are_chosen_as_in_transformers(process: TemplateProcess) -> None:
    named = {"default": "D{{ messages[0].content }}", "tool_use": "T{{ tools[0].function.name }}"}
    dated = dated_of(named, process)
    plain = dated.tokenizer
    for tools in (None, [TOOL]):
        expected = plain.apply_chat_template(CHAT, tools=tools, tokenize=False)
        assert dated.apply_chat_template(CHAT, tools=tools, tokenize=False) == expected
    with pytest.raises(RecordError, match="no default specified"):
        encode_chat(dated_of({"rag": "x"}, process), CHAT, True)


def test_every_rendering_sees_the_one_date(process: TemplateProcess) -> None:
    template = "{{ strftime_now('%d %b %Y %H:%M') }}{% for m in messages %}<user>{{ m.content }}{% endfor %}"
    texts = {encode_chat(dated_of(template, process), CHAT, asks)[0].text[:17] for asks in (True, False)}
    assert texts == {"01 Dec 2026 09:30"}
    assert dated_of(template, process).reads_clock
    assert not dated_of(TOOLS, process).reads_clock
    assert date_of("2026-12-01") == "2026-12-01T00:00:00" and date_of("2026-12-01T09:30:00.5") == DATE
    with pytest.raises(UsageError, match="date tomorrow is no date"):
        date_of("tomorrow")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ [1, 2] | random }}", "draws at random"),
        ("{{ lipsum() }}", "draws at random"),
        ("{{ 'a' * 10**10 }}", "more than 512 MB"),
        ("{% set ns = namespace(s='aaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", "MB"),
        ("{{ '%2000000000d' % 1 }}", "MB"),
        ("{{ 'a'.center(10**10) }}", "MB"),
        ("{{ ('a' * 10**5).replace('a', 'b' * 10**5) }}", "MB"),
        ("{% for i in range(100) %}{{ 'a' * 10**7 }}{% endfor %}", "more than 67,108,864 characters"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself without end"),
        ("{{ ().__class__.__base__.__subclasses__() }}", "unsafe"),
        ("{{ namespace(_x=1) }}", "namespace has no name"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ raise_exception('no \x1b[31m such role') }}", "no \x1b"),
        ("{% nothing %}", "unknown tag"),
        ("{{ 1 / 0 }}", "division"),
        ("{{ range(10**9) }}", "Range too big"),
        ("(" * 5 + "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "without end"),
    ],
)
def test_what_a_template_must_not_do_is_a_reason(template: str, reason: str, process: TemplateProcess) -> None:
    with pytest.raises(TemplateRefusedError, match=reason):
        render(process, template, messages=CHAT)
    assert render(process, "{{ x }}", x="é\ud800") == "é\ud800"


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 10 ** (10 ** 9) }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    ],
)
def test_a_template_without_end_ends_in_an_error(template: str, process: TemplateProcess) -> None:
    with pytest.raises(ModelError, match="does not come to an end"):
        render(process, template)
    assert render(process, "{{ 1 + 1 }}") == "2"


def test_a_process_that_was_killed_is_an_error_and_the_next_text_has_another() -> None:
    process = TemplateProcess()
    assert render(process, "{{ 1 }}") == "1"
    running = process._running
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    with pytest.raises(ModelError):
        render(process, "{{ 2 }}")
    assert render(process, "{{ 3 }}") == "3"
    again = process._running
    del process
    gc.collect()
    assert again is not None and again.poll() is not None  # it ends with what started it


def test_what_a_template_says_reaches_no_terminal_raw(process: TemplateProcess) -> None:
    dated = dated_of("{{ raise_exception('no \x1b[31m\x07 such role') }}", process)
    with pytest.raises(RecordError) as refused:
        encode_chat(dated, CHAT, True)
    assert refused.value.reason.isprintable() and "such role" in refused.value.reason


def test_tools_reach_the_template_or_the_record_is_refused(process: TemplateProcess) -> None:
    dated = dated_of(TOOLS, process)
    found = encode_messages(dated, CHAT[:2], chat=True, told={"tools": [TOOL]})
    assert found.encoding.text == dated.apply_chat_template(CHAT[:2], tools=[TOOL], tokenize=False)
    assert found.response is not None and '"name": "tide"' in found.encoding.text
    deaf = dated_of("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", process)
    with pytest.raises(RecordError, match="leaves the tool tide out"):
        encode_messages(deaf, CHAT[:2], chat=True, told={"tools": [TOOL]})
    with pytest.raises(RecordError, match="not a tool with a name"):
        encode_messages(dated, CHAT[:2], chat=True, told={"tools": ["tide"]})
    with pytest.raises(RecordError, match="tools need a chat template"):
        encode_messages(dated, CHAT[:2], chat=False, told={"tools": [TOOL]})
    thinking = of("{{ enable_thinking }}{% for m in messages %}{{ m.content }}{% endfor %}")
    options = {"enable_thinking": False}
    assert encode_chat(thinking, CHAT, Rendering(True, options=options))[0].text.startswith("False")
    assert encode_messages(thinking, CHAT, True, told=options).encoding.text.startswith("False")


@pytest.mark.slow
def test_random_templates_end_in_text_or_a_reason(process: TemplateProcess) -> None:
    """Pieces of templates put together at random: an answer each, and the process is the same at the end."""
    draw = random.Random(0)
    loops = ["{% for m in messages %}", "{% endfor %}", "{% break %}", "{% if m %}", "{% else %}", "{% endif %}"]
    values = [
        "{{ m.content }}",
        "{{ x",
        "}}",
        "{#",
        "{{ ''.__class__ }}",
        "{{ 2 ** 9999 }}",
        "{{ a.append(1) }}",
        "\x00",
    ]
    blocks = ["{% set a = [1] * 99999 %}", "{% raw %}", "{% macro q() %}", "{% endmacro %}", "{{ q() }}"]
    parts = [*loops, *values, *blocks, "{% generation %}", "{% endgeneration %}", *string.punctuation]
    for _ in range(200):
        template = "".join(draw.choices(parts, k=draw.randint(1, 8)))
        try:
            assert isinstance(render(process, template, messages=CHAT), str)
        except TemplateRefusedError as error:
            assert str(error)
