"""Numbers as sentences, pictures and pages show them: with a true minus sign, powers of ten, shares in percent."""

import math
import re

from actkit.errors import NO_BREAK

TIMES = f"{NO_BREAK}×{NO_BREAK}"
"""A multiplication sign between no-break spaces, so that no line ends within a number."""
COUNTED = "pair|token|text|feature|record|position|prompt|response|answer|control|layer|group|stem|document"
ONE = re.compile(rf"(?<![\d.,])1 ({COUNTED})s\b(')?")
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def signed(value: float, spec: str = "g") -> str:
    """Format a number, with U+2212 before a negative one: a hyphen is too short for that, and breaks lines."""
    digits, exponent, power = format(value, spec).partition("e")
    raised = f"{TIMES}10{str(int(power)).translate(RAISED)}" if exponent else ""
    return digits.replace("-", "−") + raised


def percent(share: float, of: int = 0) -> str:
    """Write a share of 0 to 1 in whole percent, or as exactly as a share of `of` things, in three digits at most.

    One of 126 things is 0.8 % of them. Twelve are 10 %: more digits would claim more than was measured.
    """
    places = 0
    if of and 0 < share < math.inf:
        first = -math.floor(math.log10(100 * share))  # the decimal place of the first digit that is not 0
        places = max(0, min(first + 2, max(first, math.floor(math.log10(of)) - 2)))
    return f"{100 * share:.{places}f} %"


def in_a_sentence(text: str) -> str:
    """Mend a sentence's counts of one (`1 pairs` becomes `1 pair`), and keep `%` on the line of its number."""
    text = ONE.sub(lambda found: f"1 {found[1]}" + ("'s" if found[2] else ""), text)
    return re.sub(r"(?<=\d) %", f"{NO_BREAK}%", text)
