"""Caveats: sentences that a reader must know before believing a direction."""

from collections.abc import Iterator, Mapping
from typing import Any

from actkit.analysis.concepts.contrast import Pairs
from actkit.analysis.concepts.directions import FEWEST_PAIRS, FEWEST_STEMS, Split
from actkit.numerals import percent, signed

TOLD_BY_WORDS = 0.6
"""Where words alone tell apart more than this share of the sides, a caveat says so."""
FOLLOWS_LENGTH = 0.5
"""Above this correlation with the number of tokens, of either sign, a caveat says that a direction follows length."""
CARRIES_OVER = 0.6
"""Below this AUROC in other templates, a caveat says that a direction does not carry over."""


def about_pairs(pairs: Pairs, split: Split | None) -> Iterator[str]:
    """Yield sentences about the pairs, whatever directions were found."""
    if len(pairs.stems) < FEWEST_PAIRS:
        yield f"{len(pairs.stems)} pair is too few to fit a direction to (it takes {FEWEST_PAIRS})"
    elif split is None:
        stems = "1 stem is" if pairs.n_stems == 1 else f"{pairs.n_stems} stems are"
        yield (
            f"{stems} too few to hold pairs out (it takes {FEWEST_STEMS}): whether these directions "
            "hold for others is unknown"
        )
    if pairs.n_joined:
        yield (
            f"{pairs.n_joined} stems have a text in common with another: they are counted as one with it, so that no "
            "text is fitted on and held out too"
        )
    if (told := pairs.answers.told) > TOLD_BY_WORDS:
        word, times = pairs.answers.positive.most_common(1)[0]
        yield (
            f"the two answers differ by the same few words in all pairs ({word!r} is positive {times:,} times and "
            f"negative {pairs.answers.negative[word]:,} times), and these alone tell {percent(told)} of the sides: a "
            "direction of the words cannot be told from one of what they stand for"
        )
    if len(pairs.template_names) < 2:
        yield "there is one template, so that wording and concept cannot be told apart"


def about_choice(best: Mapping[str, Mapping[str, Any]], method: str, length: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield sentences about the chosen layer of `method`; `best`: each method's row, `length`: the AUROC of length."""
    chosen = best.get(method)
    if chosen is None:
        return
    low, high = chosen["auroc_heldout_low"], chosen["auroc_heldout_high"]
    if low is not None and low <= 0.5 <= high:
        yield "even the chosen layer does not tell the held-out sides apart (its interval holds 0.5)"
    elif high is not None and high < 0.5:
        yield "at the chosen layer the direction points the other way on the held-out pairs"
    transfer = chosen["auroc_transfer"]
    if transfer is not None and transfer < CARRIES_OVER <= chosen["auroc_heldout"]:
        yield "the direction does not carry over to other templates: it may be the wording's alone"
    yield from _length(chosen, length)
    yield from _other_methods(best, chosen)


def _length(chosen: Mapping[str, Any], length: Mapping[str, Any] | None) -> Iterator[str]:
    found, left = chosen["spearman_length"], chosen["auroc_length_adjusted"]
    if found is None or abs(found) <= FOLLOWS_LENGTH or length is None:
        return
    rest = "too few texts are of about equal length to say what is left of its own"
    if left is not None:
        rest = f"within texts of about equal length its own is {left:.2f}"
    yield (
        f"the chosen direction follows the length of the texts (Spearman {signed(found, '.2f')} with their number of "
        f"tokens): length alone separates the held-out sides with AUROC {length['held_out']['value']:.2f} (0.5 is "
        f"chance), and {rest}"
    )


def _other_methods(best: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any]) -> Iterator[str]:
    """Name every method that does better by more than both standard errors."""
    most = chosen["choice_score"] + chosen["choice_error"]
    for method, row in best.items():
        if row["choice_score"] - row["choice_error"] > most:
            yield (
                f"{method} tells the sides apart far better than {chosen['method']}: AUROC {row['auroc_heldout']:.3f} "
                f"against {chosen['auroc_heldout']:.3f} on the test pairs; --method {method} exports its directions"
            )
