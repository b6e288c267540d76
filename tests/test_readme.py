"""What the README and the pages show works as it is shown."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer

import actkit
from actkit.cli.app import application, main
from actkit.docs import pages, title
from actkit.plots.pictures import OF_COMMAND
from actkit.schemas import TABLES
from tests.made_pages import PAGES as MADE
from tests.pages import ROOT, TEXTS, WITH_SERVERS, arguments_of, blocks, on_the_bundled_model, shell_lines

README = TEXTS["README"]
PAGES = {name: text for name, text in TEXTS.items() if name != "README"}
EVERYTHING = "\n".join(TEXTS.values())


def test_the_first_lines_are_the_two_commands() -> None:
    assert [line.split("#")[0].strip() for line in blocks("bash", README)[0].splitlines()] == ["make demo", "make test"]


def test_every_command_and_every_table_is_named() -> None:
    for command in application(()).registered_commands:
        assert f"actkit {command.name}" in README
    for table in TABLES:
        assert f"`{table}" in PAGES["tables"], table
        assert any(f"`{table}" in text for name, text in PAGES.items() if name not in MADE), table
    for name, path in pages().items():
        assert f"* [{name}](actkit/docs/{path.name}): {title(path)}\n" in README, name


def test_the_page_of_runs_has_every_table_and_that_of_pictures_every_picture() -> None:
    assert [table for table in TABLES if f"`{table}/`" not in PAGES["runs"]] == []
    for command, pictures in OF_COMMAND.items():
        assert f"| `{command}` | {' '.join(f'`{picture.name}`' for picture in pictures)} |" in PAGES["looking"]


def test_the_readme_is_read_in_a_minute() -> None:
    assert len(README.encode()) <= 8192


@pytest.mark.parametrize("name", MADE)
def test_pages_that_are_made_from_code_are_not_stale(name: str) -> None:
    assert PAGES[name] == MADE[name](), "python -m tests.made_pages"


def test_what_is_cited_is_the_version_that_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"actkit {project['version']}, {project['license']} licence" in README
    for extra in set(project["optional-dependencies"]) - {"dev"}:
        assert f"`.[{extra}]`" in README, extra
    assert {"SAE", "sparse autoencoder"} <= set(project["keywords"])


def test_links_between_pages_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *pages().values()]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert re.match(r"https?://", target) or (path.parent / target).exists(), (path.name, target)


def test_the_changelog_is_the_last_section() -> None:
    assert re.findall(r"^## (.*)$", README, flags=re.MULTILINE)[-1] == "Changelog"


def test_every_target_of_make_help_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("help", "install", "demo", "test", "test-all", "lint", "types", "imports", "check", "bench"):
        assert re.search(rf"^{target}:.*## ", makefile, flags=re.MULTILINE), target


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*are of one token a text")  # the example reads the last prompt token
def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    actkit.run_dpo(
        actkit.DpoSpec(str(ROOT / "tests/data/pairs.jsonl")),
        actkit.DenseSpec(actkit.ModelSpec("tiny", device="cpu"), actkit.OutputSpec(Path("runs/pairs"))),
    )
    ran: dict[str, object] = {}
    Path("stories").mkdir()
    Path("stories/one.md").write_bytes(b"Once upon a time\r\nthere was a hare.\n")
    cpu = actkit.ModelSpec("tiny", device="cpu")
    actkit.run_feature_dataset(
        actkit.FeatureDatasetSpec("stories/*.md"),
        actkit.SparseSpec(
            cpu, [actkit.SaeSpec("tiny", "blocks.2.hook_resid_post")], actkit.OutputSpec(Path("runs/stories"))
        ),
    )
    programs = [(name, block) for name, text in PAGES.items() if name != "cookbook" for block in blocks("python", text)]
    assert len(programs) >= 8
    for name, block in programs:
        exec(compile(block, f"{name}.md", "exec"), ran)
    chosen = ran["chosen"]
    assert chosen["position"].tolist() == list(range(len(chosen)))  # type: ignore[index,call-overload]
    printed = capsys.readouterr().out
    assert "'written': 2" in printed
    assert "['', 'On', 'ce', ' upon', ' a', ' time', '\\r', '\\n']" in printed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*are of one token a text")
def test_recipes_of_the_cookbook_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python", PAGES["cookbook"]):
        exec(compile(block, "cookbook.md", "exec"), names)
    assert names["vectors"].shape == (4, 192)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*are of one token a text")
@pytest.mark.parametrize("path", sorted((ROOT / "actkit/docs/notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell by cell, each last expression shown as a notebook shows it; nothing of an output is in the file."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4 and not any(cell.get("outputs") for cell in cells)
    names: dict[str, Any] = {}
    for number, source in enumerate(code):
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}:{number}", "exec"), names)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), f"{path.name}:{number}", "eval"), names)
            assert repr(shown) and (not hasattr(shown, "_repr_html_") or shown._repr_html_())


@pytest.mark.slow
def test_the_output_that_the_readme_shows_has_the_columns_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["concept", "honesty", "--layers", "recommended", "-o", "runs/honesty"])
    shown = re.search(r"```\n(mean-diff, at each layer:.*?)```", README, flags=re.DOTALL)
    assert shown is not None
    _, header, *rows = shown[1].splitlines()
    printed = capsys.readouterr().err.splitlines()
    assert header in printed and max(map(len, shown[1].splitlines())) < 80
    assert len([line for line in printed if re.match(r"[→ ] +\d 0\.\d+ \(", line)]) == len(rows)


@pytest.mark.slow
def test_the_shell_lines_of_capture_work(tmp_path: Path) -> None:
    """`cat prompts.txt | actkit capture - … && python -c …` prints the first rows of the table."""
    block = next(
        block
        for block in blocks("bash", EVERYTHING)
        if "prompts.txt | actkit capture - --layers" in block and "printf" in block
    )
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["runs/last", "runs/x"]
    assert "sequence_id" in done.stdout
    assert (tmp_path / "runs/x/run.json").exists()


def test_no_line_of_actkit_stands_in_a_block_that_no_test_reads() -> None:
    for name, text in {**PAGES, "README": README}.items():
        for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            assert kind == "bash" or not re.search(r"^actkit \w", block, flags=re.MULTILINE), (name, block)


def test_every_option_of_the_shell_lines_exists() -> None:
    commands: Any = typer.main.get_command(application(()))
    lines = [arguments for page in TEXTS for arguments in map(arguments_of, shell_lines(page)) if arguments]
    assert len(lines) > 20
    for name, *arguments in lines:
        commands.commands[name].make_context(name, arguments)


def test_every_page_whose_lines_are_not_run_here_has_a_test_that_runs_them() -> None:
    for page, path in WITH_SERVERS.items():
        assert f'shell_lines("{page}")' in (ROOT / path).read_text(encoding="utf-8"), page


@pytest.mark.slow
def test_every_shell_line_runs_on_the_bundled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stories").mkdir()
    Path("stories/one.md").write_text("Once upon a time there was a hare.\n", encoding="utf-8")
    Path("prompts.txt").write_text("What a lovely day.\n", encoding="utf-8")
    Path("questions.txt").write_text("".join(f"What is {at} and {at}?\n" for at in range(16)), encoding="utf-8")
    answers = [{"prompt": "Was it good?", "response": " Yes."}]
    write("answers.jsonl", answers)
    pd.DataFrame(answers).to_parquet("answers.parquet")
    pd.DataFrame([{"text": "So it was.", "label": "good"}]).to_csv("train.tsv", sep="\t", index=False)
    wikitext = Path("Salesforce/wikitext")  # a folder that is laid out as the dataset of this name
    wikitext.mkdir(parents=True)
    write(f"{wikitext}/test.jsonl", [{"text": f"Text {at} of several."} for at in range(3)])
    files = "  - split: test\n    path: test.jsonl\n"
    (wikitext / "README.md").write_text(
        f"---\nconfigs:\n- config_name: wikitext-2-raw-v1\n  data_files:\n{files}---\n", encoding="utf-8"
    )
    # `view` does not end by itself; tests/report/test_server.py runs its line.
    lines = [
        arguments
        for page in TEXTS
        for arguments in map(arguments_of, shell_lines(page))
        if page not in WITH_SERVERS and arguments and arguments[0] != "view"
    ]
    for number, (name, *rest) in enumerate(lines):
        pairs = [{"prompt": f"Is {at} even?", "chosen": f"Yes, {at}.", "rejected": f"No, {at}."} for at in range(12)]
        contrasts = [{"positive": f"I like {at}.", "negative": f"I loathe {at}.", "stem": str(at)} for at in range(16)]
        write("pairs.jsonl", contrasts if name == "concept" else pairs)
        labels = ("gratitude", "annoyance") if "gratitude" in rest else ("positive", "negative")
        write("comments.jsonl", [{"text": f"Text {at}.", "feedback": labels[at % 2]} for at in range(12)])
        kept = on_the_bundled_model(rest)
        runs = name in ("dpo", "capture", "concept", "sae-extract", "feature-dataset", "reward-detect")
        more = ["--overwrite", *(() if {"-o", "--list"} & {*kept} else ("-o", f"runs/{number}"))] if runs else []
        if name == "export":
            more = ["--overwrite"]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"One.\nTwo.\n")))
        with pytest.raises(SystemExit) as ended:
            main([name, *kept, *more])
        assert not ended.value.code, (name, kept, capsys.readouterr().err)


def write(name: str, rows: list[dict[str, str]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_every_name_of_the_library_is_there() -> None:
    for name in actkit.__all__:
        assert getattr(actkit, name) is not None
    assert sorted(actkit.__all__) == dir(actkit)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = actkit.nothing
