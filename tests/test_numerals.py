"""How numbers are written for readers."""

from actkit.numerals import TIMES, in_a_sentence, percent, signed


def test_a_minus_is_one_and_powers_of_ten_are_raised() -> None:
    assert [signed(value) for value in (-4, 4, -0.5, 2e-05, -1.5e20)] == [
        "−4",
        "4",
        "−0.5",
        f"2{TIMES}10⁻⁵",
        f"−1.5{TIMES}10²⁰",
    ]
    assert [signed(0.52, "+.2f"), signed(-0.52, "+.2f"), signed(1e-10, ".1e")] == ["+0.52", "−0.52", f"1.0{TIMES}10⁻¹⁰"]
    assert signed(float("nan")) == "nan" and signed(1.0, ".0e") == f"1{TIMES}10⁰"


def test_a_share_is_as_exact_as_what_it_is_a_share_of() -> None:
    """12 of 126 tokens were 9.524 % of them."""
    assert [percent(0.125), percent(1.0), percent(0.0)] == ["12 %", "100 %", "0 %"]
    assert [percent(12 / 126, 126), percent(1 / 126, 126), percent(1 / 7, 7)] == ["10 %", "0.8 %", "14 %"]
    assert [percent(123 / 1000, 1000), percent(1 / 1000, 1000)] == ["12.3 %", "0.1 %"]
    assert [percent(0.451234, 10**6), percent(3 / 10**6, 10**6), percent(0, 9)] == ["45.1 %", "0.0003 %", "0 %"]


def test_one_is_no_plural_and_no_line_ends_before_per_cent() -> None:
    said = in_a_sentence("1 pairs of 1,001 pairs, 11 texts, the 1 pairs' other half: 66.2 % of 0.1 features, 1 pair")
    assert said == "1 pair of 1,001 pairs, 11 texts, the 1 pair's other half: 66.2\u00a0% of 0.1 features, 1 pair"
