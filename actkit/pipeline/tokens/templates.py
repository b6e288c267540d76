"""Render chat templates in a process of their own: with one fixed date, in bounded time and memory.

A template can read the date (`strftime_now`), so that texts of a run could change at midnight. And it can be hostile:
nested loops never end, and `'a' * 10**10` asks for 10 GB. So it is rendered in a small process, `template_process`,
which is killed if it does not answer.
"""

import json
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from actkit.errors import ModelError, UsageError

PROGRAM = Path(__file__).with_name("template_process.py")
MEMORY = 512 << 20
"""Most bytes of address space of the process, the interpreter's own included."""
SECONDS = 10
"""Most processor time of one rendering; an ordinary one takes a thousandth of a second."""
WAIT = 120.0
"""Seconds after which a rendering is given up, whatever delays it."""
READS_CLOCK = "strftime_now"
OURS = "transformers.tokenization_utils_base"
"""The module of the `apply_chat_template` that renders a template with jinja2 and does nothing else."""


class TemplateRefusedError(Exception):
    """A template raised an error, or went beyond its bounds; the message is the reason."""


class DatedTokenizer:
    """A tokenizer whose chat template sees one date, wherever and whenever it is rendered; all else is the tokenizer's.

    `date` is ISO 8601, such as 2026-11-27T09:30:00.
    """

    def __init__(self, tokenizer: Any, date: str) -> None:
        self.tokenizer = tokenizer
        self.date = date
        self._process = TemplateProcess()

    def __getattr__(self, name: str) -> Any:
        if name == "tokenizer":  # a copy that is being made has nothing yet
            raise AttributeError(name)
        return getattr(self.tokenizer, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the tokenizer itself."""
        return self.tokenizer(*args, **options)

    def __len__(self) -> int:
        return len(self.tokenizer)

    @cached_property
    def all_special_ids(self) -> list[int]:
        """The tokenizer's own, cached: listing them takes as long as tokenizing a short text."""
        ids: list[int] = self.tokenizer.all_special_ids
        return ids

    @property
    def reads_clock(self) -> bool:
        """Whether the chat template can see the date."""
        return READS_CLOCK in str(self.tokenizer.chat_template)

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        tools: Sequence[Any] | None = None,
        add_generation_prompt: bool = False,
        **options: Any,
    ) -> Any:
        """Render one conversation as text. A tokenizer class with its own method for it renders it itself.

        Raises TemplateRefusedError for any error of the template, and ModelError where it does not end.
        """
        own = type(self.tokenizer)
        if getattr(own.apply_chat_template, "__module__", None) != OURS or options.pop("tokenize", True):
            return self.tokenizer.apply_chat_template(
                conversation, tools=tools, add_generation_prompt=add_generation_prompt, **options
            )
        template = self.tokenizer.get_chat_template(None, tools)
        messages = [{key: value for key, value in message.items() if value is not None} for message in conversation]
        variables = {
            **self.tokenizer.special_tokens_map,
            "documents": None,
            **options,
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
        }
        return self._process.render(template, variables, self.date)


class TemplateProcess:
    """Starts and calls the process that renders: with the first text, and anew after a text that ended it."""

    def __init__(self, memory: int = MEMORY, seconds: int = SECONDS) -> None:
        self._bounds = (memory, seconds)
        self._lock = threading.Lock()
        self._stop: weakref.finalize[Any, Any] | None = None
        self._running: subprocess.Popen[bytes] | None = None

    def render(self, template: str, variables: Mapping[str, Any], date: str) -> str:
        """Render a text. Raises TemplateRefusedError for errors of the template, ModelError where it does not end."""
        request = json.dumps({"template": template, "variables": variables, "date": date}, default=_plain)
        with self._lock:
            process = self._started()
            answer = _answered(process, request.encode() + b"\n")
            if answer is None:
                if self._stop is not None:
                    self._stop()
                self._running = self._stop = None
                raise ModelError(
                    "the model's chat template does not come to an end",
                    f"one text takes it more than {self._bounds[1]} s of processor time: another model, or --no-chat",
                )
        if isinstance(answer, bytes):
            return answer.decode("utf-8", "surrogatepass")
        raise TemplateRefusedError(answer["refused"])

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._running is None:
            # In a session of its own, so that Ctrl-C reaches only this process.
            self._running = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM), *map(str, self._bounds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._stop = weakref.finalize(self, _stop, self._running)
        return self._running


def _answered(process: "subprocess.Popen[bytes]", request: bytes) -> bytes | dict[str, Any] | None:
    """Send a request; return the text, or an object with the reason for its refusal; None where no answer came."""
    requests, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    try:
        requests.write(request)
        requests.flush()
        if not select.select([answers], [], [], WAIT)[0]:
            return None
        head = json.loads(answers.readline())
        text = answers.read(head.get("bytes", 0))
    except (OSError, ValueError):
        return None
    if "bytes" in head:
        return text if len(text) == head["bytes"] else None
    return cast("dict[str, Any]", head)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            cast("IO[bytes]", pipe).close()
    process.wait()


def _plain(value: Any) -> Any:
    """Convert values that JSON lacks for templates: arrays to lists, anything else to the name of its type."""
    return value.tolist() if hasattr(value, "tolist") else f"<{type(value).__name__}>"


def now() -> datetime:
    """Return the present local time."""
    return datetime.now()


def date_of(given: str | None) -> str:
    """Return the date for templates, ISO 8601 to the second: `given`, or now. Raises UsageError if it is no date."""
    try:
        moment = now() if given is None else datetime.fromisoformat(given)
    except ValueError as error:
        raise UsageError(f"--date {given} is no date", "such as 2026-11-27 or 2026-11-27T09:30") from error
    return moment.replace(microsecond=0).isoformat()
