"""The command line as a person or a script meets it: what is printed where, what each failure says, what wins."""

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
import yaml

from actkit.bundled import TINY
from actkit.cli.app import COMMANDS, application, main
from actkit.cli.options.help import PANELS
from actkit.recipes import capture, runner
from tests.command_line import Result, Run

PAIRS = Path(__file__).parents[1] / "data" / "pairs.jsonl"
ESCAPE = "\x1b"
MAKING = ["dpo", "capture", "concept", "sae-extract", "feature-dataset", "reward-detect"]
HELP = [["--help"], ["dpo", "--help"], ["capture", "--help"], ["show", "--help"]]
SMALL = ["--layers", "0", "--positions", "last"]


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and none of the settings of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ACTKIT_")] + ["FORCE_COLOR", "NO_COLOR", "COLUMNS"]:
        monkeypatch.delenv(name, raising=False)


def process(*arguments: str, environment: dict[str, str] | None = None, **options: Any) -> Any:
    """Call the command line in a process of its own: for what depends on imports or on a terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACTKIT", "COV", "PYTEST"))}
    return subprocess.run(
        [sys.executable, *arguments], env=kept | (environment or {}), check=False, text=True, timeout=60, **options
    )


def everything(parent: int) -> str:
    """All that was written to a pseudo-terminal which its last writer has closed; it comes in pieces."""
    found = b""
    while True:
        try:
            piece = os.read(parent, 10_000)
        except OSError:  # what Linux makes of the end
            piece = b""
        if not piece:
            os.close(parent)
            return found.decode()
        found += piece


def check_error(found: Result, status: int, says: str, hint: str = "") -> None:
    """`error: …`, a blank line, `hint: …` on standard error; nothing on standard output; no traceback, no colours."""
    assert found.status == status, found.err
    assert found.out == ""
    drawn = re.fullmatch(r"error: (?P<says>[^\n]+)\n\nhint: (?P<hint>[^\n]+)\n", found.err)
    assert drawn, found.err
    assert says in drawn["says"] and hint in drawn["hint"]
    assert "Traceback" not in found.err and ESCAPE not in found.err


def options_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text(encoding="utf-8"))["options"])


def tables_of(run: Path) -> list[str]:
    """The tables' folders; what `shards` holds is about files."""
    return sorted(folder.name for folder in run.iterdir() if folder.is_dir() and folder.name != "shards")


def same_tables(first: Path, second: Path) -> None:
    names = tables_of(first)
    assert names == tables_of(second) != []
    for name in names:
        pd.testing.assert_frame_equal(pd.read_parquet(first / name), pd.read_parquet(second / name))


# Help


@pytest.mark.quick(2)
@pytest.mark.parametrize("arguments", [*HELP, ["dpo", "--positions", "nonsense", "x"]], ids=" ".join)
def test_help_and_usage_errors_load_nothing_heavy(arguments: list[str]) -> None:
    """A clock would be no test on a busy machine; what has been imported is."""
    program = (
        "import sys\nfrom actkit.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    print('MODULES', *sys.modules)\n"
    )
    printed = process("-c", program, *arguments, capture_output=True).stdout
    loaded = set(printed.partition("MODULES")[2].split())
    assert "actkit.cli.app" in loaded
    assert not loaded & {"torch", "transformers", "transformer_lens", "pyarrow", "pandas", "numpy", "safetensors"}


@pytest.mark.slow  # a process that imports torch
def test_a_run_imports_nothing_that_it_does_not_use_and_dataframes_are_still_made_of_it() -> None:
    """pyarrow would import pandas for the first array that it makes."""
    program = (
        "import sys\nfrom actkit.cli import main\n"
        "try:\n    main(['capture', '--prompt', 'hi', '--layers', '0', '--out', 'run', '--quiet'])\n"
        "except SystemExit:\n    print('MODULES', *sys.modules)\n"
        "import pyarrow as pa\nfrom pathlib import Path\nfrom actkit.runs.run import open_run\n"
        "frame = open_run(Path('run')).to_pandas('tokens')\n"
        "print('FRAME', type(frame).__name__, len(frame), pa.Table.from_pandas(frame).num_rows)\n"
    )
    printed = process("-c", program, capture_output=True).stdout
    modules, _, frame = printed.partition("MODULES")[2].partition("FRAME")
    loaded = set(modules.split())
    assert {"actkit.pipeline.extract", "pyarrow", "torch"} <= loaded
    others = {"pandas", "sae_lens", "transformer_lens", "datasets", "plotly", "h5py", "gguf", "ray", "bitsandbytes"}
    assert not loaded & (others | {"actkit.plots", "actkit.export", "actkit.report", "actkit.engines"})
    assert frame.split() == ["DataFrame", "3", "3"]


@pytest.mark.parametrize("command", MAKING)
def test_the_short_help_fits_a_screen_and_the_long_one_has_everything(actkit: Run, command: str) -> None:
    short, whole = actkit(command, "--help"), actkit(command, "--help-all")
    assert short.status == whole.status == 0 and short.err == whole.err == "" and ESCAPE not in short.out + whole.out
    assert len(short.out.splitlines()) <= 45 and max(map(len, short.out.splitlines())) <= 80
    assert f"actkit {command} --help-all" in short.out and "Examples\n" in short.out and "--out PATH" in short.out
    assert short.out.count(f"actkit {command}") >= 4
    titles = [line for line in whole.out.splitlines() if line in PANELS]
    assert titles == [title for title in PANELS if title in titles] and {"Model", "Output"} <= set(titles)
    for default in ("tiny", "4096", "skip", "auto"):
        assert f"[{default}]" in whole.out
    group: Any = typer.main.get_command(application(()))
    flags = [
        flag for param in group.commands[command].params if not param.hidden for flag in param.opts if flag[:2] == "--"
    ]
    assert len(flags) > 20
    for flag in flags:
        assert re.search(rf"(^|[ ,]){flag}\b", whole.out, re.MULTILINE), flag
    left = int(re.search(r"^(\d+) more", short.out, re.MULTILINE)[1])
    assert left == len(re.findall(r"^  -", whole.out, re.MULTILINE)) - len(re.findall(r"^  -", short.out, re.MULTILINE))


def test_help_of_a_command_is_its_long_help(actkit: Run) -> None:
    assert actkit("help", "dpo").out.strip() == actkit("dpo", "--help-all").out.strip()
    assert actkit("help", "show").out.strip() == actkit("show", "--help").out.strip()
    wrong = actkit("help", "captur")
    assert (wrong.status, wrong.out) == (2, "") and "did you mean capture?" in wrong.err


@pytest.mark.parametrize("command", ["dpo", "capture"])
def test_names_that_only_keep_old_scripts_working_are_not_shown(actkit: Run, command: str) -> None:
    shown = actkit(command, "--help-all").out
    for alias in ("--input ", "--data", "--output", "--output-dir", "--verbose", "--use-hooks", "--log-level"):
        assert alias not in shown


@pytest.mark.parametrize("command", ["dpo", "capture"])
def test_every_visible_option_has_help_and_a_variable_of_its_name(command: str) -> None:
    shown: Any = typer.main.get_command(application(()))
    options = [
        param for param in shown.commands[command].params if param.param_type_name == "option" and not param.hidden
    ]
    assert len(options) > 15
    for option in options:
        assert option.help
        if option.name not in ("config", "help"):
            flag = next(flag for flag in option.opts if flag.startswith("--"))
            assert option.envvar == f"ACTKIT_{flag[2:].replace('-', '_').upper()}"


def test_without_arguments_the_help_is_shown(actkit: Run) -> None:
    found = actkit()
    assert found.status == 2 and "Usage:" in found.out and "capture" in found.out


def test_version(actkit: Run) -> None:
    assert actkit("--version") == Result(0, f"actkit {version('actkit')}\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_and_completes(shell: str) -> None:
    actkit = Path(sys.executable).with_name("actkit")
    environment = {"_ACTKIT_COMPLETE": f"source_{shell}", "PATH": os.environ["PATH"]}
    found = subprocess.run([actkit], env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert f"complete_{shell}" in found.stdout and "actkit" in found.stdout
    if shell == "bash":
        environment |= {"_ACTKIT_COMPLETE": "complete_bash", "COMP_WORDS": "actkit dpo --pos", "COMP_CWORD": "2"}
        found = subprocess.run([actkit], env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert found.stdout.split() == ["--positions"]


# What is printed where


def test_standard_output_is_the_runs_path_and_nothing_else(actkit: Run) -> None:
    """So that run=$(actkit capture …) works; the summary is on standard error, plain since that is no terminal."""
    found = actkit("capture", "-p", "One two.", "-o", "runs/x", *SMALL)
    assert found.status == 0 and found.out == "runs/x\n"
    assert "capture with tiny" in found.err and "activations" in found.err and "1 of 1 record," in found.err
    assert ESCAPE not in found.out + found.err
    assert (Path("runs/x") / "run.json").is_file() and not Path("runs/x.partial").exists()


def test_json_is_one_object_on_standard_output(actkit: Run) -> None:
    found = actkit("dpo", PAIRS, "--max-samples", "2", "-o", "x", "--json", "--layers", "0")
    assert found.out.count("\n") == 1 and found.status == 0
    facts = json.loads(found.out)
    assert facts["run"] == "x" and facts["command"] == "dpo"
    assert facts["counts"]["read"] == facts["counts"]["written"] == 2
    assert sorted(facts["tables"]) == tables_of(Path("x"))
    assert {name: value for name, value in facts.items() if name != "run"} == json.loads(Path("x/run.json").read_text())


def test_quiet_prints_only_the_result(actkit: Run) -> None:
    assert actkit("capture", "-p", "One.", "-o", "x", "-q", *SMALL) == Result(0, "x\n", "")


def test_without_out_the_run_is_named_after_command_and_time(actkit: Run) -> None:
    found = actkit("capture", "-p", "One.", "-q", *SMALL)
    assert re.fullmatch(r"runs/capture-\d{8}-\d{6}-[0-9a-f]{4}\n", found.out) and Path(found.out.strip()).is_dir()


def test_rejected_records_are_counted_with_their_reason(actkit: Run) -> None:
    Path("p.txt").write_text("One.\n\n[red]Two.\n\n")
    found = actkit("capture", "p.txt", "-o", "x", *SMALL)
    assert "2 of 4 records" in found.err and "2 rejected: empty line" in found.err


@pytest.mark.quick(1)
@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_only_on_a_terminal_and_not_under_no_color(environment: dict[str, str], coloured: bool) -> None:
    parent, child = pty.openpty()
    environment = {"TERM": "xterm-256color", **environment}
    process("-m", "actkit", "show", "nothing", environment=environment, stdout=subprocess.DEVNULL, stderr=child)
    os.close(child)
    shown = everything(parent)
    assert "nothing: no finished run" in shown
    assert bool(re.search(r"\x1b\[[\d;]*3[0-7]m", shown)) == coloured


@pytest.mark.slow
@pytest.mark.parametrize(("quiet", "said"), [([], True), (["-q"], False)])
def test_a_terminal_hears_at_once_that_something_happens(quiet: list[str], said: bool) -> None:
    """Before torch is there, which takes a second or several."""
    parent, child = pty.openpty()
    process("-m", "actkit", "dpo", "nothing.jsonl", *quiet, environment={"TERM": "xterm"}, stderr=child)
    os.close(child)
    shown = everything(parent)
    assert "nothing.jsonl: no such file" in shown
    assert ("starting" in shown) == said


# Errors


def write_files() -> None:
    """What the arguments below refer to."""
    Path("p.txt").write_text("One two.\n")
    Path("prompts.txt").write_text("One two.\n")
    Path("list.yaml").write_text("- a\n- b\n")
    Path("broken.yaml").write_text("a: [1\n")
    Path("unknown.yaml").write_text("layers: all\nlayerz: 3\nbatch-token: 5\ncommand: capture\n")
    Path("wrong.yaml").write_text("batch_tokens: many\n")
    Path("twice.yaml").write_text("hook-point: mlp_out\nlayers: all\nhook_point: attn_out\n")
    Path("two.yaml").write_text("layers: all\n---\nlayers: 0\n")
    Path("empty.yaml").write_text("# nothing\n")
    Path("date.yaml").write_text("out: 2026-02-30\n")


@pytest.mark.quick(10)
@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        ("capture p.txt --nonsense", "No such option: --nonsense", "capture --help lists the options"),
        ("nonsense", "No such command 'nonsense'", "--help lists the options"),
        ("capture", "no prompts given", "standard input"),
        ("dpo", "no PAIRS given", "standard input"),
        ("capture p.txt --positions first", "--positions first is not understood", "0,5,-1"),
        ("dpo p.txt --positions first", "'first' is not one of", "dpo --help"),
        ("dpo p.txt --input-format csv", "--input-format csv: no such shape", "chatml"),
        ("capture p.txt --layers 99", "--layers 99: there is no layer 99", "the model's layers are 0 to 3"),
        ("capture p.txt --layers some", "--layers some: 'some' is not understood", "45%-85%"),
        ("capture p.txt --hook-point ?", "'?' is not the name of a hook point", "hook_resid_post"),
        ("capture p.txt --max-samples 0", "--max-samples", "capture --help"),
        ("capture p.txt --batch-tokens many", "--batch-tokens", "capture --help"),
        ("capture p.txt --device tpu", "--device tpu", "auto, cpu, cuda"),
        ("capture p.txt --dtype int3", "--dtype int3 is not known", "float32"),
        ("capture p.txt --store-dtype bfloat16", "'bfloat16' is not one of", "capture --help"),
        ("capture p.txt --config missing.yaml", "--config missing.yaml: No such file", "YAML"),
        ("capture p.txt --config list.yaml", "--config list.yaml: no mapping", "one `option: value` a line"),
        ("capture p.txt --config broken.yaml", "--config broken.yaml:2: not YAML", "one `option: value` a line"),
        (
            "capture p.txt --config twice.yaml",
            "--config twice.yaml:3: hook_point is set in line 1 already",
            "a list, [a, b]",
        ),
        ("capture p.txt --config two.yaml", "--config two.yaml:2: not YAML", "one `option: value` a line"),
        ("capture p.txt --config empty.yaml", "--config empty.yaml: no mapping", "one `option: value` a line"),
        ("capture p.txt --config date.yaml", "--config date.yaml: not YAML (day is out of", "one `option: value`"),
        ("capture p.txt -o -", "--out -: a run is a directory", "-o runs/x"),
        ("dpo p.txt --output-dir -", "--out -: a run is a directory", "-o runs/x"),
        ("capture p.txt --config wrong.yaml", "--batch-tokens", "capture --help"),
        ("capture p.txt --config unknown.yaml", "capture has no option batch_token, layerz", "batch_tokens"),
        ("show", "Missing argument", "show --help"),
    ],
)
def test_usage_errors_exit_2(actkit: Run, arguments: str, says: str, hint: str) -> None:
    write_files()
    before = sorted(Path().iterdir())
    check_error(actkit(*arguments.split()), 2, says, hint)
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        ("capture promts.txt -o x", "promts.txt: no such file", "in the same folder: prompts.txt"),
        ("dpo . -o x", ".: no preference pairs in its first", "--chosen-field"),
        (
            "capture p.txt -o x --hook-point hook_resid_pots",
            "no hook point blocks.0.hook_resid_pots",
            "hook_resid_post",
        ),
        ("capture p.txt -o x --hook-point attn.hook_patern", "no hook point blocks.0.attn.", "attn.hook_pattern"),
        ("capture p.txt -o x -m ./nowhere", "./nowhere: no such directory", "config.json"),
        ("dpo p.txt -o x", "p.txt: no preference pairs in its first 1 records", "--chosen-field"),
        ("capture -p One. -o p.txt/x", "cannot make p.txt/x.partial: Not a directory", "choose another --out"),
        ("capture -p One. -o .", ". cannot be a run's directory", "runs/x"),
        ("capture -p One. -o .. --overwrite", ".. cannot be a run's directory", "runs/x"),
        ("show p.txt", "p.txt: no finished run", "run.json"),
        ("show nowhere", "nowhere: no finished run", "a run is a directory with run.json"),
    ],
)
def test_expected_failures_exit_1_and_leave_nothing_behind(actkit: Run, arguments: str, says: str, hint: str) -> None:
    write_files()
    before = sorted(Path().iterdir())
    check_error(actkit(*arguments.split()), 1, says, hint)
    assert sorted(Path().iterdir()) == before


def test_a_run_that_keeps_nothing_fails_says_why_and_leaves_no_directory(actkit: Run) -> None:
    Path("p.txt").write_text("\n\n \n")
    check_error(actkit("capture", "p.txt", "-o", "x"), 1, "nothing was kept of 3 records: 3 × empty line")
    Path("p.txt").write_text("")
    check_error(actkit("capture", "p.txt", "-o", "x"), 1, "the input has no records")
    assert [path.name for path in Path().iterdir()] == ["p.txt"]


def test_on_bad_record_fail_names_line_and_field(actkit: Run) -> None:
    good = PAIRS.read_text(encoding="utf-8").splitlines()[0]
    Path("p.jsonl").write_text(f'{good}\n{{"instruction": "x", "chosen": "y"}}\n{good}\n')
    found = actkit("dpo", "p.jsonl", "-o", "x", "--layers", "0", "--on-bad-record", "fail")
    check_error(found, 1, "p.jsonl:2, field rejected: missing", "--on-bad-record skip")
    assert [path.name for path in Path().iterdir()] == ["p.jsonl"]
    assert actkit("dpo", "p.jsonl", "-o", "x", "--layers", "0", "-q") == Result(0, "x\n", "")
    rejected = pd.read_parquet("x/rejected").to_dict("records")
    assert [(row["source"], row["line"], row["field"], row["reason"]) for row in rejected] == [
        ("p.jsonl", 2, "rejected", "missing")
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("capture missing.txt -o x", "missing.txt: no such file"),
        ("dpo missing.jsonl -o x", "missing.jsonl: no such file"),
        ("capture -p One. -o full", "full exists already"),
        ("capture -p One. -o full --overwrite", "full holds thesis.tex, which is not actkit's"),
    ],
)
def test_what_can_be_checked_is_checked_before_weights_are_loaded(
    actkit: Run, monkeypatch: pytest.MonkeyPatch, arguments: str, says: str
) -> None:
    """A wrong path must not cost the minutes that a large model takes to load."""

    def load(*_: Any) -> None:
        pytest.fail("the weights were loaded first")

    monkeypatch.setattr(runner, "load", load)
    Path("full").mkdir()
    (Path("full") / "thesis.tex").write_text("years of work")
    check_error(actkit(*arguments.split()), 1, says)


def test_an_existing_run_is_replaced_only_with_overwrite(actkit: Run) -> None:
    assert actkit("capture", "-p", "One.", "-o", "x", *SMALL).status == 0
    written = (Path("x") / "run.json").read_bytes()
    check_error(actkit("capture", "-p", "Two.", "-o", "x", *SMALL), 1, "x exists already", "--overwrite")
    assert (Path("x") / "run.json").read_bytes() == written
    assert actkit("capture", "-p", "Two.", "-o", "x", "--overwrite", *SMALL).out == "x\n"
    assert pd.read_parquet("x/sequences")["text"].tolist()[0].endswith("Two.")
    assert [path.name for path in Path().iterdir()] == ["x"]


def test_an_unfinished_run_is_in_the_way_too(actkit: Run) -> None:
    Path("x.partial").mkdir()
    check_error(actkit("capture", "-p", "One.", "-o", "x", *SMALL), 1, "x.partial is an unfinished run", "--overwrite")
    check_error(actkit("show", "x"), 1, "x: no finished run", "the run is unfinished")
    assert actkit("capture", "-p", "One.", "-o", "x", "--overwrite", "-q", *SMALL) == Result(0, "x\n", "")
    assert [path.name for path in Path().iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_overwrite_never_removes_what_is_no_run(actkit: Run, kind: str) -> None:
    """`-o ~ --overwrite` must not be the end of a home directory."""
    precious = Path("x")
    if kind == "directory":
        precious.mkdir()
        precious = precious / "thesis.tex"
    precious.write_text("years of work")
    found = actkit("capture", "-p", "One.", "-o", "x", "--overwrite", *SMALL)
    says = "x holds thesis.tex, which is not actkit's" if kind == "directory" else "x is no run of actkit's"
    check_error(found, 1, f"{says}, so it is not removed", "choose another --out")
    assert precious.read_text() == "years of work"


def test_interrupting_exits_130(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(capture, "run", interrupt)
    check_error(actkit("capture", "-p", "One.", "-o", "x"), 130, "interrupted", "nothing is kept")


@pytest.mark.parametrize(
    ("damage", "says", "hint"),
    [
        ("no files", "model: the configuration cannot be loaded", "config.json, model.safetensors and tokenizer.json"),
        ("config.json", "model: config.json is damaged", "fetch its files again"),
        ("tokenizer.json", "model: damaged tokenizer", "fetch the model's files again"),
        ("model.safetensors", "model: damaged weights", "fetch the model's files again"),
        ("cut off", "model: damaged weights", "fetch the model's files again"),
        ("no weights", "model: the weights cannot be loaded", "safetensors"),
        ("tensors missing", "model: the weights lack", "does not belong to its config.json"),
    ],
)
def test_a_damaged_model_directory_is_one_sentence_and_a_hint(actkit: Run, damage: str, says: str, hint: str) -> None:
    model = Path("model")
    model.mkdir()
    if damage != "no files":
        for path in TINY.glob("*.json*"):
            shutil.copyfile(path, model / path.name)
    weights = (TINY / "model.safetensors").read_bytes()
    if damage not in ("no files", "no weights"):
        (model / "model.safetensors").write_bytes(weights[:-1000] if damage == "cut off" else weights)
    if damage == "tensors missing":
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 6}))
    elif damage.endswith((".json", ".safetensors")):
        (model / damage).write_text("{no JSON, nor anything else")
    # Of a model only what is read is loaded: the last layer asks for all of it.
    check_error(actkit("capture", "-p", "One.", "-m", "model", "-o", "x", *SMALL, "--layers", "-1"), 1, says, hint)
    assert [path.name for path in Path().iterdir()] == ["model"]


# Configuration


def test_flags_come_before_the_environment_before_the_file_before_defaults(
    actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ("capture", "-p", "One two.", "-q", "--overwrite", "-o", "x", "--layers", "0")

    def found(*more: str) -> tuple[Any, Any]:
        assert actkit(*base, *more).status == 0
        rows = pd.read_parquet("x/activations")
        return options_of(Path("x"))["positions"], len(rows)

    length = found()[1]
    assert length > 2 and options_of(Path("x"))["positions"] == "all"
    Path("c.yaml").write_text("positions: '0,1'\nbatch-tokens: 77\n")
    assert found("--config", "c.yaml") == ("0,1", 2)
    assert options_of(Path("x"))["batch_tokens"] == 77
    monkeypatch.setenv("ACTKIT_POSITIONS", "last")
    assert found("--config", "c.yaml") == ("last", 1)
    assert found("--config", "c.yaml", "--positions", "all") == ("all", length)
    # The place of --config among the flags does not matter.
    assert found("--positions", "all", "--config", "c.yaml") == ("all", length)


def test_unknown_keys_of_a_config_file_are_named_all_at_once(actkit: Run) -> None:
    Path("c.yaml").write_text("zeal: 1\nlayers: all\nhook-points: x\nLayer: 2\n")
    check_error(actkit("capture", "-p", "x", "--config", "c.yaml"), 2, "Layer, hook_points, zeal", "hook_point, ")


def test_a_single_value_in_a_config_file_stands_for_a_list_of_one(actkit: Run) -> None:
    Path("c.yaml").write_text("prompt: One two.\nhook_point: mlp_out\nlayers: -1\nout: x\nquiet: true\n")
    assert actkit("capture", "--config", "c.yaml") == Result(0, "x\n", "")
    assert options_of(Path("x"))["prompt"] == ["One two."]
    assert set(pd.read_parquet("x/activations")["hook_point"]) == {"blocks.3.hook_mlp_out"}


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "arguments",
    [
        ["capture", "-p", "One: two.", "-p", "#3", "--layers", "-1", "--positions", "0,-1", "--hook-point", "mlp_out"],
        ["capture", "p.txt", "--system", "Be brief.", "--layers", "50%-75%", "--max-samples", "1", "--bos", "never"],
        ["dpo", str(PAIRS), "--max-samples", "3", "--positions", "divergence", "--no-chat", "--layers", "0"],
    ],
    ids=["prompts", "file", "pairs"],
)
def test_the_config_of_a_run_replays_it(actkit: Run, arguments: list[str]) -> None:
    """Same rows in every table, and the same options but for where the run goes."""
    write_files()
    assert actkit(*arguments, "-q", "-o", "first").status == 0
    found = actkit(arguments[0], "--config", "first/config.yaml", "-q", "-o", "second")
    assert found == Result(0, "second\n", "")
    same_tables(Path("first"), Path("second"))
    first, second = options_of(Path("first")), options_of(Path("second"))
    assert first | {"out": "second"} == second
    assert yaml.safe_load(Path("first/config.yaml").read_text())["command"] == arguments[0]


@pytest.mark.quick(1)
@pytest.mark.parametrize("names", [("--input", "--output"), ("--data", "--output-dir")])
def test_the_source_scripts_names_keep_working(actkit: Run, names: tuple[str, str]) -> None:
    """And make the same run as the new ones."""
    old = ["--use-hooks", "--verbose", "--log-level", "DEBUG"]
    shared = ["--max-samples", "1", "--layers", "0", "-q"]
    assert actkit("dpo", names[0], PAIRS, names[1], "old", *shared, *old) == Result(0, "old\n", "")
    assert actkit("dpo", PAIRS, "-o", "new", *shared).status == 0
    same_tables(Path("old"), Path("new"))
    assert options_of(Path("old")) | {"out": "new"} == options_of(Path("new"))


def test_a_dash_reads_standard_input(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Ein Apfel.\nÜber alles.\n".encode())))
    assert actkit("capture", "-", "-o", "x", "-q", *SMALL).out == "x\n"
    sequences = pd.read_parquet("x/sequences")
    assert [text.split("<|bos|>")[-1] for text in sequences["text"]] == ["Ein Apfel.", "Über alles."]
    assert set(sequences["source"]) == {"<stdin>"} and sequences["line"].tolist() == [1, 2]
    lines = PAIRS.read_bytes().splitlines(keepends=True)[:2]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(lines))))
    assert actkit("dpo", "-", "-o", "y", "-q", "--layers", "0").out == "y\n"
    assert len(pd.read_parquet("y/pairs")) == 2


# show


def test_show_prints_every_table_and_json_the_facts(actkit: Run) -> None:
    assert actkit("dpo", PAIRS, "--max-samples", "2", "-o", "x", "--layers", "0", "-q").status == 0
    facts = json.loads(Path("x/run.json").read_text(encoding="utf-8"))
    found = actkit("show", "x")
    assert found.status == 0 and found.err == "" and ESCAPE not in found.out
    assert "x: dpo with tiny, 2 of 2 records" in found.out
    for name, table in facts["tables"].items():
        assert re.search(rf"^{name}  {table['rows']:,} rows", found.out, re.MULTILINE)
        for column in pd.read_parquet(Path("x") / name).columns if table["rows"] else ():
            assert re.search(rf"^.*\b{column}\b", found.out, re.MULTILINE)
    more = actkit("show", "x", "--rows", "1")
    assert len(more.out.splitlines()) < len(found.out.splitlines())
    as_json = actkit("show", "x", "--json", "--sequences", "0")
    assert as_json.out.count("\n") == 1 and as_json.err == ""
    assert json.loads(as_json.out) == {**facts, "first_sequences": []}


def test_lines_in_a_pipe_do_not_end_in_blanks(actkit: Run) -> None:
    """They were 10,000 characters wide: what a pipe may have, so that no column is put elsewhere."""
    actkit("capture", "-p", "One two.", "-o", "x", *SMALL)
    lines = actkit("show", "x").out.splitlines()
    assert len(lines) > 10 and max(map(len, lines)) < 400
    assert not [line for line in lines if line != line.rstrip()]


def test_show_of_a_damaged_run_is_an_error(actkit: Run) -> None:
    Path("x").mkdir()
    (Path("x") / "run.json").write_text("{")
    check_error(actkit("show", "x"), 1, "x/run.json is damaged", "can still be read")


def test_show_draws_text_that_looks_like_markup_as_it_is(actkit: Run) -> None:
    assert actkit("capture", "-p", "[red]x[/] \\[b]", "-o", "x", "-q", *SMALL).status == 0
    assert "[red]x[/] " in actkit("show", "x").out


def test_a_configuration_for_another_command_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "dpo.yaml"
    config.write_text("command: dpo\nmodel: tiny\n")
    with pytest.raises(SystemExit) as done:
        main(["capture", "--prompt", "x", "--config", str(config)])
    assert done.value.code == 2
    assert "is for dpo, not capture" in capsys.readouterr().err


def test_a_run_is_exported_at_once_where_that_is_asked_for(actkit: Run) -> None:
    """The format is no part of the run: its config.yaml, its fingerprint and its rows are those without it."""
    assert actkit("capture", "-p", "One.", "-o", "x", "--export", "npz", "--export", "pt", *SMALL).status == 0
    assert {path.name for path in Path().iterdir()} == {"x", "x.npz", "x.pt", "x.json"}
    assert "export" not in Path("x/config.yaml").read_text()
    assert "export" not in Path("x/fingerprint.json").read_text()
    check_error(actkit("capture", "-p", "One.", "-o", "y", "--export", "h5", *SMALL), 2, "--export h5", "pt, npz")
    assert not Path("y").exists()


def test_the_command_that_is_called_is_made_alone_unless_it_may_ask_for_others() -> None:
    """To make all of them takes ten times as long."""
    every = [*COMMANDS, "help"]
    made = {name: [each.name for each in application([name, "x"]).registered_commands] for name in every}
    assert made["dpo"] == ["dpo"] and made["show"] == ["show"]
    for name in ("merge", "sbatch", "help"):
        assert made[name] == every
    for words in ([], ["--help"], ["dop"], ["--version", "dpo"]):
        assert [each.name for each in application(words).registered_commands] == every
