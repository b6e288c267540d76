"""The options that say which fields of a record hold a conversation: one group for prompts, one for pairs besides."""

from dataclasses import dataclass
from typing import Annotated, Literal

from actkit.cli.options.groups import READ, option

Which = Literal["best-worst", "adjacent", "all"]


@dataclass(frozen=True)
class ContextOptions:
    """Where what stands before an answer is; every command that reads conversations takes these."""

    prompt_field: Annotated[
        str | None,
        option(
            READ,
            "What is asked: text or messages; by default prompt, instruction, question, query, input, …; a dotted "
            "path such as input.messages reaches into objects.",
        ),
    ] = None
    system_field: Annotated[str | None, option(READ, "System message; by default system, system_prompt, …")] = None
    history_field: Annotated[
        str | None, option(READ, "Earlier turns: messages or [question, answer] pairs; by default history, …")
    ] = None
    ignore_field: Annotated[
        list[str] | None, option(READ, "A field that carries context and is left out on purpose; may be repeated.")
    ] = None


@dataclass(frozen=True)
class AnswerOptions:
    """Where the two answers of a preference pair are, and which is better."""

    input_format: Annotated[
        str | None, option(READ, "A shape listed by actkit docs shapes; by default it is told of each record.")
    ] = None
    chosen_field: Annotated[str | None, option(READ, "The better answer, such as chosen.content.")] = None
    rejected_field: Annotated[str | None, option(READ, "The worse answer.")] = None
    preference_field: Annotated[
        str | None,
        option(READ, "What says which of two answers is better, or the score by which a list of them is ranked."),
    ] = None
    first_is_better: Annotated[
        list[str] | None,
        option(
            READ, "A value of that field with which the first answer is better, any other the second; may be repeated."
        ),
    ] = None
    make_pairs: Annotated[
        Which, option(READ, "Of more than two ranked answers: the best with the worst, or more pairs.", "--pairs")
    ] = "best-worst"

    def check(self) -> None:
        """Raise UsageError for an unknown shape, and values of no field."""
        from actkit.errors import UsageError
        from actkit.recipes.conversations.pairs import check_form

        check_form(self.input_format)
        if self.first_is_better and self.preference_field is None:
            raise UsageError(
                "--first-is-better without --preference-field", "--preference-field names the field that has the value"
            )
