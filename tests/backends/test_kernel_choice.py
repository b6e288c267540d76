"""Which kernels are taken is settled once a machine, whoever asks first, and how busy it is then."""

import json
import time
from pathlib import Path

import pytest
import torch

from actkit.backends import describe, kernel_choice
from actkit.backends.kernel_choice import Choice
from actkit.config import ModelSpec
from actkit.pipeline import dry_run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, on a machine that has both libraries and keeps to no instructions."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        pytest.skip("torch has not both libraries here")
    for limit in kernel_choice.LIMITS:
        monkeypatch.delenv(limit, raising=False)
    monkeypatch.setattr(kernel_choice, "_CACHE", tmp_path / "cache" / "kernels")
    return tmp_path / "cache" / "kernels"


def asked(monkeypatch: pytest.MonkeyPatch, speed: float) -> Choice:
    """What a process chooses that would measure this."""
    monkeypatch.setattr(kernel_choice, "_onednn_speed", lambda: speed)
    return kernel_choice.choice.__wrapped__()


@pytest.mark.parametrize("speed", [0.5, 1.01, 2.0])
def test_it_is_measured_once_a_machine(speed: float, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy when it is asked again must take the same ones."""
    first = asked(monkeypatch, speed)
    assert first.onednn == (speed == 2.0) and f"{speed:.2f} times" in first.why
    assert asked(monkeypatch, 99.0) == first == asked(monkeypatch, 0.1)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert asked(monkeypatch, 99.0).onednn, "other instructions are another machine"
    assert len(list(cache.iterdir())) == 2, "nothing else is left in the cache"


def test_kernels_that_wait_for_the_processor_are_not_slower() -> None:
    """On a busy machine each product waits while others run: by the clock on the wall the slower ones were taken."""
    if time.get_clock_info("process_time").resolution > kernel_choice.FINE:
        pytest.skip("this system does not count processor time finely")
    numbers = torch.randn(200_000)
    assert kernel_choice._ratio(lambda: time.sleep(0.02), numbers.sort) < 1


@pytest.mark.parametrize("theirs", [0.5, 2.0])
def test_of_two_who_measure_at_once_the_second_takes_what_the_first_kept(
    theirs: float, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Choice] = []

    def slow() -> float:
        monkeypatch.setattr(kernel_choice, "_onednn_speed", lambda: theirs)
        found.append(kernel_choice.choice.__wrapped__())
        return 2.5 - theirs

    monkeypatch.setattr(kernel_choice, "_onednn_speed", slow)
    found.append(kernel_choice.choice.__wrapped__())
    assert found[0] == found[1] == asked(monkeypatch, 2.5 - theirs)
    assert found[0].onednn == (theirs == 2.0)


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_where_nothing_can_be_kept_torchs_own_are_taken_and_it_is_said(
    speed: float, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.write_text("in the way")
    found = asked(monkeypatch, speed)
    assert not found.onednn and f"{cache} cannot be written" in str(found) and str(found).startswith("torch")


@pytest.mark.parametrize("damage", ["", "[1", "[]", '{"times_as_fast": null}', "\0"])
def test_what_is_damaged_in_the_cache_is_measured_anew(
    damage: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, 0.5)
    (kept,) = cache.iterdir()
    kept.write_text(damage)
    assert asked(monkeypatch, 2.0).onednn and json.loads(kept.read_text())["times_as_fast"] == 2.0


def test_the_measurement_is_of_what_is_called() -> None:
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("torch has no oneDNN here")
    assert 0 < kernel_choice._onednn_speed() < 1000


@pytest.mark.parametrize(("speed", "said"), [(2.13, "2.1 times as fast"), (1.0, None)])
def test_the_plan_says_what_bfloat16_would_give_where_it_is_faster(
    speed: float, said: str | None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured once, apart from which kernels float32 takes; nothing is said where bfloat16 is asked for."""
    monkeypatch.setattr(kernel_choice, "_bfloat16_speed", lambda: speed)
    monkeypatch.setattr(kernel_choice, "bfloat16_speed", kernel_choice.bfloat16_speed.__wrapped__)
    for dtype in ("auto", "bfloat16"):
        found = dry_run._faster(describe(ModelSpec("tiny", device="cpu", dtype=dtype)))
        assert (found is None) == (said is None or dtype == "bfloat16") and (found is None or said in found)
    asked(monkeypatch, 0.5)
    monkeypatch.setattr(kernel_choice, "_bfloat16_speed", lambda: 99.0)
    assert kernel_choice.bfloat16_speed() == speed
    assert len(list(cache.iterdir())) == 2


def test_bfloat16_is_measured_by_what_is_called() -> None:
    assert 0 < kernel_choice._bfloat16_speed() < 1000
