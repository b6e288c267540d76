"""The six commands in one line each: what is at hand or a file in, a run out that is the command line's."""

import inspect
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actkit
from actkit.api import command_call
from actkit.errors import UsageError
from actkit.recipes.asked import options_of
from actkit.recipes.specs import names_of, spec_of
from actkit.runs.progress import Progress
from tests.command_line import Run as Called
from tests.command_line import called

PAIR = {"prompt": "Is it raining?", "chosen": "Yes, it is.", "rejected": "No, it is not."}


@pytest.fixture(autouse=True)
def _temporary_runs_go(_nothing_is_left: None, tmp_path: Path) -> Iterator[None]:
    """Temporary runs stay until Python ends, which the next test does not wait for."""
    yield
    for folder in Path(tempfile.gettempdir()).glob("actkit-*"):
        assert [path.name for path in folder.iterdir() if path.name != "run.input.jsonl"] == ["run"]
        shutil.rmtree(folder)


@pytest.fixture
def actkit_line(capfd: pytest.CaptureFixture[str]) -> Called:
    """Call the command line in this process; `actkit` is the package here."""
    return partial(called, capfd)


@pytest.mark.slow
def test_a_text_texts_records_and_a_file_are_the_same_run(tiny: Any, tmp_path: Path, actkit_line: Called) -> None:
    (tmp_path / "in.txt").write_text("One two.\n")
    options: dict[str, Any] = {"layers": [1, 2], "positions": "last"}
    given = ["One two.", ["One two."], [{"prompt": "One two."}], "in.txt", tmp_path / "in.txt"]
    runs = [actkit.capture(prompts, tiny, **options) for prompts in given]
    assert actkit_line("capture", "in.txt", "--layers", "1,2", "--positions", "last", "-o", "x").status == 0
    vectors = [run.activations("blocks.2.hook_resid_post") for run in (*runs, actkit.open_run("x"))]
    assert all(np.array_equal(vectors[0], vector) for vector in vectors) and vectors[0].shape == (1, 192)
    assert isinstance(runs[0], type(actkit.open_run("x")))
    mine, theirs = (actkit.open_run(run.path).facts["options"] for run in (runs[3], actkit.open_run("x")))
    assert {key for key in mine if mine[key] != theirs[key]} <= {"out", "device", "attn", "dtype"}
    assert "capture with tiny, 1 of 1 records; rows: sequences 1" in repr(runs[0])


@pytest.mark.slow
def test_out_keeps_the_run_with_its_input_and_replays(tiny: Any, tmp_path: Path, actkit_line: Called) -> None:
    run = actkit.dpo([PAIR], tiny, out=tmp_path / "pairs", layers=2, positions="divergence")
    assert run.path == tmp_path / "pairs" and (tmp_path / "pairs.input.jsonl").exists()
    assert run.to_pandas("pairs")["status"].tolist() == ["ok"]
    assert actkit_line("dpo", "--config", run.path / "config.yaml", "-o", tmp_path / "again", "-q").status == 0
    with pytest.raises(actkit.ActkitError, match="exists already"):
        actkit.dpo([PAIR], tiny, out=tmp_path / "pairs")
    again = actkit.dpo([PAIR], tiny, output=tmp_path / "pairs", overwrite=True, layers=0)
    assert (again.path, again.hook_points) == (run.path, ("blocks.0.hook_resid_post",))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: actkit.capture("A text.", m, layer=2), "did you mean layers"),
        (lambda m: actkit.capture("missing.jsonl", m), "missing.jsonl: no such file"),
        (lambda m: actkit.capture([], m), "there are no prompts"),
        (lambda m: actkit.concept(None, m), "which concept"),
        (lambda m: actkit.concept([("One",)], m), "a pair is a positive and a negative text"),
        (lambda m: actkit.concept(from_run="nothing", seed=1), "no finished run"),
        (lambda m: actkit.capture("A text.", m, layers=9), "there is no layer 9"),
        (lambda m: actkit.sae_extract([{"prompt": "x", "response": "y"}], m, sae_id="nothing"), "nothing"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(call: Any, says: str, tiny: Any) -> None:
    with pytest.raises(actkit.ActkitError, match=says):
        call(tiny)
    assert not list(Path(tempfile.gettempdir()).glob("actkit-*"))


def test_options_are_those_of_the_spec_and_back() -> None:
    own = [getattr(actkit, f"{name}Spec") for name in ("Capture", "Concept", "SaeExtract", "RewardDetect")]
    for kind in own:
        needed = {"path": "x"} if kind is actkit.SaeExtractSpec else {}
        options = {"top_k": 0, "q": 0.3, "seed": 9, "max_length": 7, "positive": ["a"], "split": "test"}
        spec = spec_of(kind, options, **needed)
        common = actkit.SparseSpec(actkit.ModelSpec(), (), actkit.OutputSpec(Path("x")))
        found = options_of(spec, common)
        for name in names_of(kind) & options.keys():
            assert found[name] == options[name], (kind, name)


@pytest.mark.slow
def test_a_temporary_run_lasts_as_long_as_python() -> None:
    program = (
        "import actkit\nrun = actkit.capture('A text.', layers=0)\nassert run['tokens'].head().num_rows\n"
        "path = run.path\ndel run\nassert path.exists()\nprint(path)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert not Path(done.stdout.strip()).exists()


def test_describe_says_what_columns_are(tiny: Any) -> None:
    about = actkit.describe("tokens").set_index("name")
    assert about.loc["char_start", "unit"] == "Unicode characters" and "text" in about.loc["char_start", "meaning"]
    run = actkit.capture("A text.", tiny, layers=0)
    assert run["activations"].describe()["name"].tolist() == list(run["activations"].columns)
    with pytest.raises(actkit.ActkitError, match="did you mean tokens"):
        actkit.describe("token")


def test_help_is_a_map() -> None:
    """Every name stands in the module's docstring, which fits a screen."""
    text = inspect.getdoc(actkit) or ""
    assert len(text.splitlines()) <= 40
    words = {word.strip("().,;`") for word in text.replace("/", " ").split()}
    assert set(actkit.__all__) <= words, set(actkit.__all__) - words


def example_of(name: str) -> str:
    lines = (inspect.getdoc(getattr(actkit, name)) or "").splitlines()
    return "\n".join(line[4:] for line in lines if line.startswith("    "))


NOT_RUN = ("load_model", "steer", "steering", "load_samples_from_json", "save_results_to_json")
"""Their examples name models of the hub, or go on from another one."""
QUICK = ("capture", "dpo", "describe", "sae_extract")


@pytest.mark.filterwarnings("ignore:.*are of one token a text")
@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name, module in actkit._WHERE.items()
        if module.startswith("actkit.api.") and name[0].islower() and name not in NOT_RUN
    ],
)
def test_the_example_runs(name: str) -> None:
    import torch

    if name == "open_run":
        actkit.dpo([PAIR], out="runs/pairs")
    code = example_of(name)
    assert code and f"actkit.{name}(" in code
    exec(compile(code, name, "exec"), {"actkit": actkit, "torch": torch})


def test_a_notebook_is_not_told_to_install_widgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm warns when it is imported in a notebook without ipywidgets; here warnings are errors."""
    (tmp_path / "tqdm").mkdir()
    (tmp_path / "tqdm/__init__.py").touch()
    (tmp_path / "tqdm/auto.py").write_text("import warnings\nwarnings.warn('IProgress not found. Update ipywidgets')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, name)
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    display = types.ModuleType("IPython.display")
    display.display = lambda *_, **__: types.SimpleNamespace(update=lambda _bar: None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    try:
        with command_call.notebook_bar():
            assert str(tmp_path) in str(sys.modules["tqdm.auto"].__file__)
    finally:  # no later test finds the one made here
        for name in ("tqdm", "tqdm.auto"):
            sys.modules.pop(name, None)


def test_in_a_notebook_there_is_a_bar(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without IPython here: the module is one that a notebook would have imported."""
    drawn: list[Any] = []
    handle = types.SimpleNamespace(update=drawn.append)
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    display = types.ModuleType("IPython.display")
    display.display = lambda first, display_id: drawn.append(first) or handle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(command_call, "EVERY", 0.0)
    actkit.capture(["One.", "Two."], tiny, layers=0)
    assert "loading the model" in repr(drawn[0]) and repr(drawn[-1]) == drawn[-1]._repr_html_() == ""
    assert any("2/2 records" in repr(bar) and '<progress value="2" max="2">' in bar._repr_html_() for bar in drawn)
    shell.kernel = None
    with command_call.notebook_bar() as show:
        before = len(drawn)
        show(Progress())
    assert len(drawn) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_length": 0}, "max_length 0 is not possible"),
        ({"max_length": -3}, "from 1 on"),
        ({"max_length": "9"}, "max_length '9' is not possible"),
        ({"batch_tokens": 0}, "batch_tokens 0"),
        ({"max_samples": True}, "max_samples True"),
        ({"max_samples": 1.5}, "a whole number from 1 on"),
        ({"overwrite": "no"}, "overwrite 'no' is not possible"),
        ({"layers": 1.5}, "layers 1.5 is not understood"),
        ({"layers": 1.0}, "layers 1.0 is not understood"),
        ({"layers": np.float64(1)}, "layers"),
        ({"layers": True}, "layers True"),
        ({"layers": []}, "layers"),
        ({"positions": [0.5]}, "positions"),
        ({"hook_point": ()}, "no hook point"),
        ({"sae_release": "tiny", "sae_id": 5}, "sae_id 5 is not possible"),
        ({"sae_release": 5}, "release 5 is not possible"),
        ({"out": 5}, "out: 5 is no path"),
    ],
)
def test_numbers_that_the_command_line_would_refuse_are_refused(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        actkit.capture(["Hello"], **{"out": tmp_path / "run", "device": "cpu", **options})


def test_settings_of_statistics_have_bounds(tmp_path: Path) -> None:
    records = [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]
    for options in ({"q": 5}, {"held_out": 1.0}, {"draws": 0}, {"null_draws": 0}, {"listed": 0}, {"seed": -1}):
        with pytest.raises(UsageError, match="is not possible"):
            actkit.reward_detect(records, out=tmp_path / "run", device="cpu", **options)


def test_numbers_of_numpy_are_numbers(tiny: Any, tmp_path: Path) -> None:
    options = {"batch_tokens": np.int64(64), "max_length": np.int32(3), "layers": np.array(1)}
    run = actkit.capture("One two three four.", tiny, out=tmp_path / "run", **options)
    asked = run.facts["options"]
    assert (asked["batch_tokens"], asked["max_length"], run.facts["counts"]["truncated"]) == (64, 3, 1)


def test_what_cannot_be_called_shows_no_progress(tiny: Any, tmp_path: Path) -> None:
    """It failed in the middle of the run, as a TypeError."""
    with pytest.raises(UsageError, match="on_progress None is not possible"):
        actkit.create_feature_dataset(["One."], tiny, out=tmp_path / "run", on_progress=None)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("run*"))


def test_the_parameters_that_hints_name_are_there() -> None:
    """The hint of a command without an SAE named `sae_path`, and a list of all options left out those of SAEs."""
    with pytest.raises(UsageError, match="or sae DIR$"):
        actkit.sae_extract([{"prompt": "A", "response": "B"}], "gpt2")
    with pytest.raises(UsageError, match="hook_name, .*sae, .*sae_id, sae_release, .*target_layer"):
        actkit.sae_extract([{"prompt": "A", "response": "B"}], sae_path="x")
