"""Options are named as flags on the command line and as parameters in Python; both see the hint."""

import warnings

import pytest

import actkit
from actkit.api.run_location import warn_of
from actkit.cli.app import main
from actkit.errors import ActkitError, RunError, WriteError, first_line, in_python, listed


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("use --store-dtype float32", "use store_dtype float32"),
        ("--layers 9: there is no layer 9", "layers 9: there is no layer 9"),
        ("--sae-release R --sae-id I, or --sae DIR", "sae_release R sae_id I, or sae DIR"),
        ("--plan beside --from: no text is read", "plan beside from_run: no text is read"),
        ("--hook-point x; --no-chat", "hook_points x; chat=False"),
        ("--verify: it is wrong", "verify: it is wrong"),
        ("--device cuda:77: no", "device cuda:77: no"),
        ("--prompt:2: empty", "--prompt:2: empty"),
        ("see --help for formats", "see --help for formats"),
        ("a--b -- c --- d -o", "a--b -- c --- d -o"),
        ("'dtype' --dtype=x", "'dtype' dtype=x"),
    ],
)
def test_flags_are_parameters_in_python(text: str, python: str) -> None:
    assert in_python(text) == python


def test_an_error_shows_its_hint_in_python_and_its_flags_to_whoever_draws_it() -> None:
    error = ActkitError("--dtype int8 is not known", "use --dtype float32")
    assert str(error) == "dtype int8 is not known\nhint: use dtype float32"
    assert (error.message, error.hint) == ("--dtype int8 is not known", "use --dtype float32")
    assert str(ActkitError("It is wrong")) == "It is wrong"


def test_a_hint_that_is_given_later_is_shown() -> None:
    error = ActkitError("It is wrong")
    error.hint = "mend it"
    assert str(error) == "It is wrong\nhint: mend it"


def test_one_mistake_in_python_and_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ActkitError, match=r"^dtype int8 is not known\nhint: use auto, float32, bfloat16 or float16$"):
        actkit.load_model("tiny", dtype="int8")
    with pytest.raises(SystemExit):
        main(["capture", "-p", "One.", "--dtype", "int8", "-o", "x"])
    assert "error: --dtype int8 is not known\n\nhint: use auto" in capsys.readouterr().err


def test_warnings_in_python_name_parameters_too() -> None:
    facts = {"counts": {"rejected": 0, "truncated": 0, "read": 1}, "warnings": ["try --dtype float32"]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of(facts)
    assert [str(warning.message) for warning in caught] == ["try dtype float32"]


def test_a_disk_that_is_full_is_an_error_of_the_run() -> None:
    from actkit.errors import writing

    assert issubclass(WriteError, RunError)
    with pytest.raises(WriteError, match="cannot write x: No space left on device"), writing("x"):
        raise OSError(28, "as the system says it")


def test_names_are_listed_as_far_as_they_are_shown() -> None:
    assert [listed(names, 2) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a, b",
        "a, b and 1 more",
    ]


def test_the_first_line_of_an_error_of_somebody_elses() -> None:
    assert first_line(ValueError("\n first \nsecond")) == "first" and first_line(ValueError("x" * 999)) == "x" * 300
    assert first_line(RecursionError()) == "RecursionError"


def test_a_foreign_error_without_a_message_is_named_by_its_type() -> None:
    """Read line by line, an empty message has no first line, and ended in an IndexError of its own."""
    assert first_line(ValueError()) == first_line(ValueError("\n ")) == "ValueError"
    assert first_line(ValueError("\n  two words \nmore"), 5) == "two w"
