"""The training corpus as documents: public-domain books, CC-BY stories, comments with praise and blame, and chats.

Every document is either plain text or a list of chat messages. The split is by document (a whole book is either
trained on or held out), decided by position in a sorted list, so that it is the same on every machine.
"""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOLD_OUT_EVERY = 20
"""Of each kind of document, one in this many is held out."""

Message = dict[str, str]


@dataclass(frozen=True)
class Document:
    """One document of the corpus: `text` for prose, `messages` for a chat; exactly one of them is set."""

    kind: str
    name: str
    text: str = ""
    messages: tuple[Message, ...] = ()


def load_corpus(data: Path) -> tuple[list[Document], list[Document]]:
    """Read the corpus below `data`: the training documents and the held-out documents."""
    train: list[Document] = []
    held_out: list[Document] = []
    for documents in (books(data), stories(data), comments(data), chats(data)):
        for index, document in enumerate(documents):
            (held_out if index % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1 else train).append(document)
    return train, held_out


def books(data: Path) -> list[Document]:
    """Public-domain books in Markdown; headings and emphasis marks are dropped, paragraphs kept."""
    files = sorted((data / "text/classic_books").rglob("*.md"))
    return [Document("book", file.stem, text=_plain(file.read_text(encoding="utf-8"))) for file in files]


def stories(data: Path) -> list[Document]:
    """Children's stories; the attribution page goes to ATTRIBUTION.md, not into the training text."""
    files = sorted((data / "text/african_storybook_en_ccby").glob("*.md"))
    return [Document("story", file.stem, text=_story(file.read_text(encoding="utf-8"))) for file in files]


def comments(data: Path) -> list[Document]:
    """Short comments labelled with emotions: every other one as a user's message, as feedback in chats is."""
    found: list[Document] = []
    for name in ("train", "dev"):
        with (data / f"feedback/goemotions/{name}.tsv").open(encoding="utf-8", newline="") as file:
            for index, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
                if index % 2:
                    found.append(Document("comment", row[2], messages=({"role": "user", "content": row[0]},)))
                else:
                    found.append(Document("comment", row[2], text=row[0]))
    return found


def chats(data: Path) -> list[Document]:
    """Instruction pairs and dialogues: the preferred answer of each preference pair, and the labelled answers."""
    found: list[Document] = []
    for index, row in enumerate(_json(data / "pref/rasbt_preference_0000-0799.json")):
        prompt = "\n".join(part for part in (row["instruction"], row["input"]) if part)
        found.append(_chat(f"rasbt-{index}", [("user", prompt), ("assistant", row["chosen"])]))
    for index, row in enumerate(_json(data / "pref/llamafactory_dpo_en_demo.json")):
        turns = [(_ROLES[turn["from"]], turn["value"]) for turn in row["conversations"]]
        found.append(_chat(f"llamafactory-dpo-{index}", [*turns, ("assistant", row["chosen"]["value"])]))
    for index, row in enumerate(_json(data / "feedback/llamafactory_kto_en_demo.json")):
        found.append(_chat(f"llamafactory-kto-{index}", [(turn["role"], turn["content"]) for turn in row["messages"]]))
    return found


def attribution(data: Path) -> str:
    """Give the attribution that CC-BY asks for: one line a story with its title, authors, translators and licence."""
    lines = []
    for file in sorted((data / "text/african_storybook_en_ccby").glob("*.md")):
        text = file.read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix("# ").strip()
        names = "; ".join(line[2:].strip() for line in text.splitlines() if line.startswith("* "))
        lines.append(f"- {title}. {names}")
    return "\n".join(lines) + "\n"


_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}


def _json(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _chat(name: str, turns: list[tuple[str, str]]) -> Document:
    return Document("chat", name, messages=tuple({"role": role, "content": content} for role, content in turns))


def _plain(markdown: str) -> str:
    text = re.sub(r"(?m)^(#+ |-{3,}$|\*{3,}$).*\n?", "", markdown.replace("\r\n", "\n"))
    text = re.sub(r"[*_]{1,3}(\S)", r"\1", text)
    text = re.sub(r"(\S)[*_]{1,3}", r"\1", text)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()


def _story(markdown: str) -> str:
    pages = [" ".join(page.split()) for page in re.split(r"(?m)^##.*$", markdown)]
    kept = [page for page in pages[1:] if page and not page.startswith("* License")]
    return "\n\n".join([pages[0].removeprefix("# "), *kept])
