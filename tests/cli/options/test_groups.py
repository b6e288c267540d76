"""Groups of options become a command's own parameters; lines of help fit any terminal; specs are what was asked."""

import inspect
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from rich.text import Text

from actkit.cli.options.further import NOT_FROM, AnswerOptions, ContextOptions, Dense, Follow, Sparse, changes_in
from actkit.cli.options.groups import among, argument, at_home, concepts, hidden, option, with_option_groups
from actkit.cli.options.help_lines import table, typed, wrapped
from actkit.cli.options.shared import SUFFIXES, Shared, spec_of_call
from actkit.config import SaeSpec
from actkit.errors import UsageError
from actkit.recipes.conversations.fields import PairFields
from actkit.recipes.dpo import DpoSpec
from actkit.remote.path import RemotePath
from actkit.runs.paths import partial_of


@dataclass(frozen=True)
class Own:
    """A group."""

    layers: Annotated[str, option("x", "y", "-l")] = "all"
    n: Annotated[int, option("x", "y", "--how-many/--none")] = 3


def test_a_groups_fields_become_parameters() -> None:
    seen: list[Any] = []

    @with_option_groups
    def command(own: Own, text: Annotated[str, typer.Argument()], shared: bool = False) -> None:
        """What it does,
        in two lines.

        More.
        """
        seen.append((own, text, shared))

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["text", "shared", "layers", "n"] and parameters["layers"].default == "all"
    assert {each.kind for each in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert command.__doc__ == "What it does, in two lines.\n\nMore."
    assert command.shared_options == ("layers", "n")  # type: ignore[attr-defined]
    command(text="t", shared=True, layers="2", n=4)
    assert seen == [(Own("2", 4), "t", True)]


def test_an_option_is_called_by_its_parameter_and_can_stand_in_the_environment() -> None:
    app = typer.Typer(add_completion=False)

    @app.command()
    @with_option_groups
    def command(
        text_field: Annotated[str, option("x", "y")] = "",
        by_line: Annotated[bool, option("x", "y", "-l")] = False,
        chat: Annotated[bool, option("x", "y", "--chat/--no-chat")] = False,
        from_run: Annotated[str, option("x", "y", "-f", "--from")] = "",
        old: Annotated[str, typer.Option("--older")] = "",
    ) -> None:
        """Nothing."""

    made = {each.name: each for each in typer.main.get_command(app).params}
    assert {name: (each.opts, each.secondary_opts) for name, each in made.items()} == {
        "text_field": (["--text-field"], []),
        "by_line": (["--by-line", "-l"], []),
        "chat": (["--chat"], ["--no-chat"]),
        "from_run": (["--from", "-f"], []),
        "old": (["--older"], []),
    }
    variables = [made[name].envvar for name in ("text_field", "by_line", "chat", "from_run", "old")]
    assert variables == ["ACTKIT_TEXT_FIELD", "ACTKIT_BY_LINE", "ACTKIT_CHAT", "ACTKIT_FROM", None]


def test_a_path_is_in_the_users_home_without_being_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    app, seen = typer.Typer(), list[Any]()

    @app.command()
    @with_option_groups
    def command(
        run: Annotated[str, argument("RUN", "y")],
        out: Annotated[Path | None, option("x", "y")] = None,
        older: Annotated[Path | None, hidden("--older")] = None,
        text: Annotated[str, option("x", "y")] = "",
    ) -> None:
        """Nothing."""
        seen.extend((run, out, older, text))

    monkeypatch.setenv("HOME", str(tmp_path))
    command_line = typer.main.get_command(app)
    command_line.main(["~/a", "--out=~/b", "--older=~/c", "--text=~/d"], standalone_mode=False)
    assert seen == [f"{tmp_path}/a", tmp_path / "b", tmp_path / "c", "~/d"]


def test_a_home_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        at_home("~/x") == f"{tmp_path}/x" and at_home("~") == str(tmp_path) and at_home(Path("~/x")) == tmp_path / "x"
    )
    assert at_home(["~/x", "y"]) == [f"{tmp_path}/x", "y"]
    assert at_home("~x/y") == "~x/y" and at_home("a~/x") == "a~/x" and at_home(3) == 3 and at_home(None) is None
    assert isinstance(at_home(Path("s3://bucket/x")), RemotePath)


def test_completions_begin_as_what_was_typed() -> None:
    assert among(["ab", "ac", "b"])("a") == ["ab", "ac"] and among(["a"])("") == ["a"]
    assert "honesty" in concepts("hon") and concepts("./x") == []


def test_a_line_to_type_is_the_same_however_it_is_broken() -> None:
    line = "actkit dpo pairs.jsonl --layers 1,2 --model org/name -o runs/a-long-name"
    for width in (20, 40, 80, 200):
        found = list(typed(line, width))
        assert shlex.split("\n".join(found).replace("\\\n", " ")) == shlex.split(line)
        assert all(len(each) <= width for each in found) or width == 20
    assert list(typed(line, 200)) == [f"  {line}"]


@pytest.mark.parametrize("width", [30, 59, 60, 100])
def test_a_table_says_all_its_words_within_the_width(width: int) -> None:
    rows = [
        ("--layers, -l", "all of the layers, or some of them, as numbers with commas"),
        ("--a-long-name-of-an-option, --output-dir", "short"),
        ("--none", ""),
    ]
    lines = [line.plain for line in table(rows, width)]
    assert all(len(line) <= width for line in lines), lines
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(row) for row in rows).strip()
    if width >= 60:
        assert lines[0].startswith("  --layers, -l") and lines[0][28:].startswith("all of")
    assert [line.plain for line in wrapped(Text("one two three"), 24, 4)] == ["    one two three"]


def test_specs_are_what_was_asked(tmp_path: Path) -> None:
    shared = Shared(
        model="org/x", batch_tokens=7, max_length=9, columns="a,b", out=tmp_path / "x", max_samples=4, verify=2
    )
    output = shared.output_spec("dpo", "float16")
    assert (output.out, output.store_dtype, output.max_records, output.verify) == (tmp_path / "x", "float16", 4, 2)
    call = {"shared": shared, "context": ContextOptions(system_field="s", ignore_field=["a"]), "chat": True}
    answers = AnswerOptions(chosen_field="c", preference_field="p", first_is_better=["1"], make_pairs="all")
    spec = spec_of_call(DpoSpec, {**call, "answers": answers}, path="x")
    assert (shared.model_spec().name, spec.tokens.max_length, spec.read.column_names()) == ("org/x", 9, ["a", "b"])
    assert (spec.context.system_field, spec.context.ignore_field, spec.chat) == ("s", ("a",), True)
    assert spec.answers == PairFields("c", None, "p", ("1",), "all")
    assert spec_of_call(DpoSpec, {"answers": AnswerOptions()}, path="x") == DpoSpec("x")
    assert Shared().output_spec("dpo").out.parent == Path("runs") and "dpo-" in str(Shared().output_spec("dpo").out)


def test_a_file_that_out_names_has_its_run_beside_it() -> None:
    for suffix, to in SUFFIXES.items():
        shared = Shared(output=Path(f"a/x{suffix}"))
        assert shared.exports == [(to, shared.file)] and shared.directory == Path("a/x")
    assert Shared(out=Path("a/x")).file is None and Shared(out=Path("a/x.y")).directory == Path("a/x.y")


def test_a_task_has_a_directory_of_its_own(tmp_path: Path) -> None:
    output = Shared(out=tmp_path / "x", shard="1/4").output_spec("dpo")
    assert partial_of(output.out).name == "x.1-of-4.partial" and output.task is not None and output.task.of == 4
    assert Shared(out=tmp_path / "x", shard="1/4", plan=True).output_spec("dpo").out == tmp_path / "x"
    for shared, says in (
        (Shared(shard="0/2"), "shard without out"),
        (Shared(shard="0/2", out=RemotePath("s3://b/x")), "tasks meet in a folder that all of them see"),
    ):
        with pytest.raises(UsageError) as error:
            shared.output_spec("dpo")
        assert says in str(error.value)


@pytest.mark.parametrize("model", ["tiny", "."])
def test_a_revision_is_of_the_hub(model: str) -> None:
    with pytest.raises(UsageError, match=r"revision v1: .* is ") as error:
        Shared(model=model, revision="v1").model_spec()
    assert error.value.hint == "only a Hugging Face id has revisions"


def test_fields_of_answers_fit_together() -> None:
    with pytest.raises(UsageError, match="first_is_better without preference_field"):
        AnswerOptions(first_is_better=["1"]).check()
    with pytest.raises(UsageError):
        AnswerOptions(input_format="nothing").check()


def test_saes_that_are_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert Sparse().sae_specs("tiny")
    shared = Shared()
    for named, spec in (
        (Sparse(sae=["/x"]), SaeSpec(path="/x")),
        (Sparse(sae=["/x"], hook_name="h"), SaeSpec(path="/x", hook_name="h")),
    ):
        assert named.dense_spec(shared, Dense(), "capture").saes == [spec]
    dense = Sparse().dense_spec(shared, Dense(top_k=7), "capture")
    assert "top-k 7 does nothing without an SAE" in " ".join(capsys.readouterr().err.split())
    assert dense.saes == [] and dense.top_k == 7
    assert Sparse().dense_spec(shared, Dense(top_k=0), "capture").top_k is None
    sparse = Sparse(target_layer=2, sae_dtype="bfloat16").sparse_spec(shared, "sae-extract")
    assert sparse.sae_dtype == "bfloat16" and len(sparse.saes) == 1


def test_what_follows_a_run_knows_where_its_model_is(tmp_path: Path) -> None:
    follow = Follow(model=None, out=tmp_path / "x", batch_tokens=5)
    assert follow.shared().model == Shared.model and follow.spec("steer").output.out == tmp_path / "x"
    assert follow.spec("steer").batch.batch_tokens == 5


class Context:
    """A command's parameters and where each came from."""

    def __init__(self, **given: tuple[Any, str]) -> None:
        self.params = {name: value for name, (value, _) in given.items()}
        self.given = given

    def get_parameter_source(self, name: str) -> Any:
        return type("Source", (), {"name": self.given[name][1]})


def test_changes_are_what_somebody_said_of_the_rows() -> None:
    context: Any = Context(
        layers=("2", "COMMANDLINE"),
        seed=(3, "DEFAULT_MAP"),
        draws=(5, "DEFAULT"),
        out=("x", "COMMANDLINE"),
        method=(("a",), "ENVIRONMENT"),
    )
    assert changes_in(context) == {"layers": "2", "seed": 3, "method": ["a"]}


@pytest.mark.parametrize("name", NOT_FROM)
def test_what_makes_no_sense_beside_a_run(name: str) -> None:
    context: Any = Context(**{name: (True, "COMMANDLINE")})
    with pytest.raises(UsageError, match=f"{name} beside from") as error:
        changes_in(context)
    assert error.value.hint == "leave one of the two out"
    off: Any = Context(**{name: (False, "COMMANDLINE")})
    assert changes_in(off) == {}
