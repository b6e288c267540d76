"""Numbers as sentences, pictures and pages show them: with a minus that is one, and shares in percent."""


def signed(value: float, spec: str = "g") -> str:
    """A number by a format, U+2212 before it where it is negative: a hyphen is too short for that, and breaks lines."""
    return format(value, spec).replace("-", "−")


def percent(share: float, digits: int = 0) -> str:
    """A share of 0 to 1, in percent."""
    return f"{100 * share:.{digits}f} %"
