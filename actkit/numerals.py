"""Numbers as sentences, pictures and pages show them: with a minus that is one, powers of ten, shares in percent."""

TIMES = "\u00a0×\u00a0"
"""No line ends within a number."""
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def signed(value: float, spec: str = "g") -> str:
    """A number by a format, U+2212 before it where it is negative: a hyphen is too short for that, and breaks lines."""
    digits, exponent, power = format(value, spec).partition("e")
    raised = f"{TIMES}10{str(int(power)).translate(RAISED)}" if exponent else ""
    return digits.replace("-", "−") + raised


def percent(share: float, digits: int = 0) -> str:
    """A share of 0 to 1, in percent."""
    return f"{100 * share:.{digits}f} %"
