"""Chat templates, rendered apart from this process: under a clock that stands still, in bounded time and memory.

A template can read the date (`strftime_now`): a run that goes on after midnight would be two runs. And it can be
hostile: loops in loops never end, and `'a' * 10**10` asks for 10 GB. So it is rendered in a small process of its own,
`template_process`, which is killed where it does not answer.
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
"""Bytes of address space that the process may have, the interpreter's own included."""
SECONDS = 10
"""Processor time of one rendering; an ordinary one takes a thousandth of a second."""
WAIT = 120.0
"""Seconds after which a rendering is given up, whatever keeps it."""
READS_CLOCK = "strftime_now"
OURS = "transformers.tokenization_utils_base"
"""Where `apply_chat_template` is defined that renders a template with jinja2, and with nothing else."""


class TemplateRefusedError(Exception):
    """A template raised an error, or went beyond its bounds: the reason."""


class DatedTokenizer:
    """A tokenizer whose chat template sees one date, wherever and whenever it is rendered; all else is as it was.

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
        """As the tokenizer itself."""
        return self.tokenizer(*args, **options)

    def __len__(self) -> int:
        return len(self.tokenizer)

    @cached_property
    def all_special_ids(self) -> list[int]:
        """As the tokenizer's own, which takes as long to list them as to tokenize a short text."""
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
        """The rendered text of one conversation. A class with a method of its own for it is asked itself.

        Raises TemplateRefusedError for whatever the template raises, ModelError where it does not end.
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
    """The process that renders; started with the first text, and again after a text that ended it."""

    def __init__(self, memory: int = MEMORY, seconds: int = SECONDS) -> None:
        self._bounds = (memory, seconds)
        self._lock = threading.Lock()
        self._stop: weakref.finalize[Any, Any] | None = None
        self._running: subprocess.Popen[bytes] | None = None

    def render(self, template: str, variables: Mapping[str, Any], date: str) -> str:
        """The text. Raises TemplateRefusedError for whatever the template raises, ModelError where it does not end."""
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
            # Not of the terminal's group: Ctrl-C is this process's to answer.
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
    """The text, or why there is none; None where the process ended over it."""
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
    """The present time, in local time."""
    return datetime.now()


def date_of(given: str | None) -> str:
    """The date that templates see, ISO 8601 to the second: the `given` one, or now. Raises UsageError for no date."""
    try:
        moment = now() if given is None else datetime.fromisoformat(given)
    except ValueError as error:
        raise UsageError(f"--date {given} is no date", "such as 2026-11-27 or 2026-11-27T09:30") from error
    return moment.replace(microsecond=0).isoformat()
