"""Calls a command from Python: places its run, makes specs of its options, and opens the finished run."""

import atexit
import html
import importlib
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from actkit.api.loading import AnyModel, in_use, layers_text, model_spec
from actkit.api.opened import Run, open_run
from actkit.api.run_location import RunLocation, placed, rows_in, warn_of
from actkit.config import ModelSpec, OutputSpec
from actkit.errors import InputError, UsageError
from actkit.pipeline.input.formats import format_of
from actkit.pipeline.recipe import Finished
from actkit.recipes.conversations.messages import is_turn
from actkit.recipes.sae_choice import sae_specs
from actkit.recipes.specs import SAE_OPTIONS, DenseSpec, SparseSpec, check_options, spec_of
from actkit.remote.url import file_name, is_web, publicly, scheme_of
from actkit.runs import run as runs
from actkit.runs.progress import OnProgress, Progress, Step

Where: TypeAlias = Path | str | None
EVERY = 0.3
"""Seconds between updates: each is a message to the browser."""


@contextmanager
def location_asked(out: Where, overwrite: bool, options: dict[str, Any]) -> Iterator[RunLocation]:
    """Yield the run's place: `out`, or a directory that is removed when Python ends, or at once where the run fails."""
    out = out if out is not None else options.pop("output", None)
    if out is not None:
        with placed(out, overwrite) as place:
            yield place
        return
    folder = tempfile.mkdtemp(prefix="actkit-")
    try:
        with placed(Path(folder) / "run") as place:
            yield place
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def file_of(given: Any, is_text: bool = False) -> str | None:
    """Return the path that is given; None for values in memory. Raises InputError for a file that is not there."""
    if isinstance(given, Path):
        return str(given)
    if not isinstance(given, str):
        return None
    if not is_text:
        return given
    if scheme_of(given) and "\n" not in given and (not is_web(given) or format_of(file_name(given)) is not None):
        return given
    if not given.strip() or " " in given or "\n" in given:
        return None
    if Path(given).is_dir() and Path(given).name == given:
        raise InputError(
            f"{publicly(given)} may be a text, or the folder of that name", f"say which: [{given!r}] or Path({given!r})"
        )
    if Path(given).exists():
        return given
    if format_of(given) is not None and not given.startswith("."):
        raise InputError(
            f"{publicly(given)}: no such file", "check the path; a text that ends so is given in a list: [text]"
        )
    return None


def path_of(given: Any, place: RunLocation) -> str:
    """Return the file that is given; records in memory are written to a file beside the run. Errors: see `file_of`."""
    found = file_of(given)
    return place.write_input(_with_names(rows_in(given))) if found is None else found


def _with_names(rows: Iterable[Any]) -> Iterator[Any]:
    """Yield the records, messages as a conversation. Raises UsageError for a record whose values have no names."""
    for number, row in enumerate(rows):
        if isinstance(row, (list, tuple)) and not all(map(is_turn, row)):
            raise UsageError(
                f"record {number} is a {type(row).__name__}, whose values have no names",
                "give objects, such as {'text': …, 'label': …}, or pandas.DataFrame(rows, columns=[…])",
            )
        yield row


def run_command(
    run: Callable[..., Finished],
    kind: Any,
    common: type[DenseSpec] | type[SparseSpec],
    given: Mapping[str, Any],
    model: AnyModel,
    place: RunLocation,
    options: dict[str, Any],
) -> Run:
    """Run a command by a spec of `kind` with the fields `given` and one of `common`, and open its run.

    Raises UsageError for an option that the command does not have, and what `run` raises.
    """
    more: dict[str, Any] = {"layers": layers_text(options.pop("layers", "all"))} if common is DenseSpec else {}
    named = {name: options.pop(name) for name in SAE_OPTIONS if name in options}
    spec = model_spec(model)
    if isinstance(model, (str, Path)):
        spec = spec_of(ModelSpec, {**options, "model": spec.name})
    check_options(options, kind, common)
    if named or common is SparseSpec:
        release, layer = named.pop("sae_release", None), named.pop("target_layer", None)
        more["saes"] = sae_specs(spec.name, release, layer=layer, **named)
    output = spec_of(OutputSpec, options, out=place.output.out, overwrite=place.output.overwrite)
    asked = spec_of(common, options, model=spec, output=output, **more)
    if options.get("positions") is not None:
        options["positions"] = layers_text(options["positions"], "positions")
    own = spec_of(kind, options, **given)
    with in_use(spec), notebook_bar() as on_progress:
        finished = run(own, asked, on_progress)
    found = open_run(finished.path)
    warn_of(found.facts, own.tokens.max_length)
    return found


def make_from(make: Callable[..., Finished], source: Any, place: RunLocation, options: Mapping[str, Any]) -> Run:
    """Make a run of the finished run `source` with other settings, and open it; `make` is such as `rank_again`."""
    changes = {**options, **({"layers": layers_text(options["layers"])} if "layers" in options else {})}
    with notebook_bar() as on_progress:
        return open_run(make(runs.path_of_run(source), place.output, changes, on_progress).path)


@contextmanager
def notebook_bar() -> Iterator[OnProgress]:
    """Yield a function that shows a run's `Progress` in the notebook's cell; the bar goes when the run is done."""
    display = _display()
    if display is None:
        yield lambda _progress: None
        return
    began = last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            display.update(Bar(progress.step, last - began))

    try:
        yield show
    finally:
        display.update(Bar(Step(""), 0.0))


class Bar:
    """A bar as HTML and as text; empty for a step of no stage."""

    def __init__(self, step: Step, seconds: float) -> None:
        self.step, self.seconds = step, seconds

    def __repr__(self) -> str:
        if not self.step.stage:
            return ""
        total = "" if self.step.total is None else f"/{int(self.step.total):,}"
        rate = self.step.tokens / max(self.seconds, 1e-9)
        return f"{self.step.stage}: {int(self.step.done):,}{total} records, {rate:,.0f} tokens/s, {self.seconds:.0f} s"

    def _repr_html_(self) -> str:
        if not self.step.stage:
            return ""
        known = "" if self.step.total is None else f' value="{self.step.done:.0f}" max="{self.step.total:.0f}"'
        return f"<progress{known}></progress> {html.escape(repr(self))}"


def _display() -> Any:
    """A place in the notebook's cell that can be written again; None outside of a notebook."""
    shell = sys.modules.get("IPython")  # a notebook has imported it
    running = None if shell is None else shell.get_ipython()
    if running is None or getattr(running, "kernel", None) is None:
        return None
    from IPython.display import display

    with warnings.catch_warnings():
        # tqdm, which the model's library imports, asks for widgets that no bar of actkit's needs, once.
        warnings.filterwarnings("ignore", "IProgress not found")
        importlib.import_module("tqdm.auto")
    return display(Bar(Step("loading the model"), 0.0), display_id=True)
