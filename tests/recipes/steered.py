"""Small runs of `concept` and `reward-detect` on `tiny`, and `steer` on them."""

import json
from pathlib import Path

from actkit.cli.app import main
from actkit.config import BatchSpec, OutputSpec
from actkit.pipeline.recipe import Finished
from actkit.recipes.specs import FollowSpec
from actkit.recipes.steering.run import run_steer
from actkit.recipes.steering.spec import SteerSpec
from actkit.runs.progress import OnProgress

WHO = ("The king", "A sailor", "My aunt", "The fox")
STEMS = [f"{who} {what}" for who in WHO for what in ("ate", "sang", "ran", "slept")]
WORDINGS = (("How happy: {}.", "How sad: {}."), ("{} and was glad.", "{} and was angry."))


def concept_run(folder: Path, *more: str) -> Path:
    """16 stems in two wordings, at layers 1 and 2."""
    lines = [
        {"positive": good.format(stem), "negative": bad.format(stem), "stem": stem, "template": str(number)}
        for stem in STEMS
        for number, (good, bad) in enumerate(WORDINGS)
    ]
    file = folder / "in.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return called("concept", str(file), "--layers", "1,2", *more, out=folder / "run")


def feedback_run(folder: Path) -> Path:
    """The example data with the SAE of layer 2."""
    return called("reward-detect", "--use-example-data", "--draws", "100", out=folder / "run")


def called(*arguments: str, out: Path) -> Path:
    """Run a command line, on the CPU, and give the run's directory."""
    try:
        main([*arguments, "--device", "cpu", "-q", "-o", str(out)])
    except SystemExit as end:
        assert end.code in (0, None), end.code
    return out


def steered(
    spec: SteerSpec,
    out: Path,
    batch: BatchSpec | None = None,
    resume: bool = False,
    plan: bool = False,
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Run `steer` on the CPU."""
    output = OutputSpec(out, resume=resume, plan_only=plan)
    return run_steer(spec, FollowSpec(output, device="cpu", batch=batch or BatchSpec()), on_progress)
