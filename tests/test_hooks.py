"""`--layers` and `--hook-point`: what each spelling means, worked out by hand, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actkit.errors import UsageError
from actkit.hooks import HookPoint, parse_hook_points, parse_layers


def test_all_is_every_layer() -> None:
    assert parse_layers("all", 4) == (0, 1, 2, 3)
    assert parse_layers("all", 1) == (0,)


@pytest.mark.parametrize(
    ("n_layers", "first", "last"),
    # Layer l is in when 0.45 n <= l + 1 <= 0.85 n.
    [
        (4, 1, 2),  # 1.8 to 3.4: the 2nd and 3rd block
        (12, 5, 9),  # 5.4 to 10.2
        (26, 11, 21),  # 11.7 to 22.1
        (32, 14, 26),  # 14.4 to 27.2
        (42, 18, 34),  # 18.9 to 35.7
        (20, 8, 16),  # 9.0 to 17.0, both ends exactly
    ],
)
def test_recommended_is_the_layers_between_45_and_85_percent_of_the_depth(n_layers: int, first: int, last: int) -> None:
    assert parse_layers("recommended", n_layers) == tuple(range(first, last + 1))
    assert parse_layers("45%-85%", n_layers) == tuple(range(first, last + 1))


@given(n_layers=st.integers(1, 130))
def test_recommended_takes_every_layer_inside_and_none_outside(n_layers: int) -> None:
    """In whole numbers, so that no rounding can agree with itself; where none is inside, one layer is still chosen."""
    inside = tuple(layer for layer in range(n_layers) if 45 * n_layers <= 100 * (layer + 1) <= 85 * n_layers)
    chosen = parse_layers("recommended", n_layers)
    assert chosen == inside if inside else len(chosen) == 1


@given(n_layers=st.integers(1, 60), low=st.integers(0, 100), width=st.integers(0, 100))
def test_a_share_of_the_depth_takes_exactly_the_layers_inside_or_one(n_layers: int, low: int, width: int) -> None:
    high = min(low + width, 100)
    inside = tuple(layer for layer in range(n_layers) if low * n_layers <= 100 * (layer + 1) <= high * n_layers)
    chosen = parse_layers(f"{low}%-{high}%", n_layers)
    assert chosen == inside if inside else (len(chosen) == 1 and 0 <= chosen[0] < n_layers)


@pytest.mark.parametrize(
    ("text", "n_layers", "expected"),
    [
        ("3", 12, (3,)),
        ("-1", 12, (11,)),
        ("-12", 12, (0,)),
        ("4,8,-1", 12, (4, 8, 11)),
        ("8, 4 ,4", 12, (4, 8)),
        ("-1,11", 12, (11,)),
        ("10-12", 16, (10, 11, 12)),
        ("5-5", 12, (5,)),
        ("0-1,3-4,-1", 12, (0, 1, 3, 4, 11)),
        ("2,all", 3, (0, 1, 2)),
        ("0,recommended", 4, (0, 1, 2)),
        ("0%-100%", 3, (0, 1, 2)),
        ("50%-50%", 4, (1,)),
        ("12.5%-25%", 8, (0, 1)),
        # 28 / 100 * 25 is a little more than 7 in floating point, 58 / 100 * 50 a little less than 29.
        ("28%-36%", 25, (6, 7, 8)),
        ("54%-58%", 50, (26, 27, 28)),
        # None is inside: the one nearest to the middle.
        ("recommended", 1, (0,)),
        ("40%-45%", 4, (1,)),
        ("0%-0%", 4, (0,)),
        ("1%-2%", 4, (0,)),
        ("51%-74%", 4, (1,)),
    ],
)
def test_every_spelling_of_layers(text: str, n_layers: int, expected: tuple[int, ...]) -> None:
    """Sorted, each once, negative ones counted from the end."""
    assert parse_layers(text, n_layers) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is not understood"),
        ("4,,5", "'' is not understood"),
        ("first", "'first' is not understood"),
        ("1.5", "'1.5' is not understood"),
        ("4-", "'4-' is not understood"),
        ("-3--1", "'-3--1' is not understood"),
        ("45-85%", "'45-85%' is not understood"),
        ("12", "there is no layer 12"),
        ("-13", "there is no layer -13"),
        ("10-12", "there is no layer 12"),
        ("9-7", "9-7 runs backwards"),
        ("85%-45%", "85%-45% is no part of the depth"),
        ("45%-101%", "45%-101% is no part of the depth"),
    ],
)
def test_layers_that_mean_nothing_are_refused_with_the_text_and_a_hint(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_layers(text, 12)
    assert says in caught.value.message and f"--layers {text}" in caught.value.message
    assert caught.value.hint


def test_the_hint_for_a_missing_layer_says_which_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        parse_layers("99", 12)
    assert caught.value.hint == "the model's layers are 0 to 11"


def test_names_without_a_layer_are_taken_at_every_layer() -> None:
    points = parse_hook_points(["hook_resid_post", "attn.hook_z"], "0,-1", 4)
    assert list(map(str, points)) == [
        "blocks.0.attn.hook_z",
        "blocks.0.hook_resid_post",
        "blocks.3.attn.hook_z",
        "blocks.3.hook_resid_post",
    ]


@pytest.mark.parametrize("short", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"])
def test_the_common_names_need_no_prefix(short: str) -> None:
    assert parse_hook_points([short], "2", 4) == (HookPoint(2, f"hook_{short}"),)


def test_full_names_stand_for_themselves_whatever_the_layers() -> None:
    assert parse_hook_points(["blocks.3.hook_mlp_out"], "0", 4) == (HookPoint(3, "hook_mlp_out"),)
    assert parse_hook_points(["blocks.-1.attn.hook_pattern"], "0", 4) == (HookPoint(3, "attn.hook_pattern"),)


def test_a_hook_point_named_twice_is_read_once_and_layers_sort_as_numbers() -> None:
    names = ["blocks.10.hook_resid_post", "resid_post", "blocks.2.hook_resid_post"]
    assert parse_hook_points(names, "2,10", 12) == (HookPoint(2, "hook_resid_post"), HookPoint(10, "hook_resid_post"))


@pytest.mark.parametrize("name", ["", "hook resid", "6.hook_resid_post", "-x", "blocks/3/hook_mlp_out"])
def test_what_is_no_name_of_a_hook_point_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_hook_points([name], "all", 4)
    assert repr(name) in caught.value.message and "blocks.6.hook_resid_post" in caught.value.hint


def test_a_full_name_with_a_missing_layer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"hook_points blocks.9.hook_mlp_out: there is no layer 9"):
        parse_hook_points(["blocks.9.hook_mlp_out"], "all", 4)


def test_a_full_name_is_read_back() -> None:
    for point in (HookPoint(3, "hook_mlp_out"), HookPoint(11, "attn.hook_z")):
        assert HookPoint.of(str(point)) == point
    with pytest.raises(ValueError, match=r"invalid literal|not enough"):
        HookPoint.of("hook_embed")
