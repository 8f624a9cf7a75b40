"""Plans: the arithmetic, what is done where memory is short, and the real peak of a real run."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.measurements import PAIR_BYTES, measured
from support.style_jobs import interrupted_job

from nst.backend import get_backend
from nst.errors import UsageError
from nst.style import forecast as forecast_module
from nst.style.forecast import (
    FEWEST_PAIRS,
    Forecast,
    fitted,
    forecast,
    rough_bytes,
    with_history,
)
from nst.style.job import StyleJob
from nst.style.probe import PAIRS, Probe
from nst.style.run import run_job
from nst.style.schedule import Stage

REPO = Path(__file__).resolve().parent.parent.parent
PROBE = Probe((measured(1000), measured(4000)), pair_s=1e-9)


def long_job(kind: str = "lbfgs", corrections: int = 40, extra: str = "") -> StyleJob:
    """60 iterations at 400x300 pixels, after 5 at 100x75."""
    settings = f"lbfgs_corrections: {corrections} {extra}"
    job = interrupted_job(kind, get_backend("numpy"), settings)
    return dataclasses.replace(job, stages=(Stage(100, 5), Stage(400, 60)))


def growth(plan: Forecast) -> int:
    return plan.peak_bytes - plan.held_bytes


def test_time_and_memory_follow_the_lines_through_the_measurements() -> None:
    plan = forecast(long_job("adam"), PROBE, free=10**12)

    pixels = 400 * 300
    stage = plan.stages[1]
    assert stage.shape == (300, 400)
    assert growth(plan) == pytest.approx(100_000 + (3000 + PAIRS * PAIR_BYTES) * pixels)
    evaluation = 0.01 + 1e-6 * pixels
    assert stage.iteration_s == pytest.approx(evaluation)
    assert stage.evaluations == 60
    assert stage.seconds == pytest.approx(0.5 + 2e-6 * pixels + 60 * evaluation)
    assert plan.delivery_s == pytest.approx(0.1 + 1e-7 * pixels)
    assert plan.seconds == plan.stages[0].seconds + stage.seconds + plan.delivery_s
    assert plan.corrections is None
    assert plan.fits


def test_the_history_of_lbfgs_counts() -> None:
    pixels = 400 * 300
    short, long = (forecast(long_job(corrections=pairs), PROBE, free=10**12) for pairs in (10, 55))

    assert growth(short) == pytest.approx(100_000 + (3000 + 10 * PAIR_BYTES) * pixels)
    assert growth(long) == pytest.approx(100_000 + (3000 + 55 * PAIR_BYTES) * pixels)
    assert long.stages[1].seconds > short.stages[1].seconds


@pytest.mark.parametrize(
    ("settings", "copies"),
    [("", False), ("snapshot: 0", False), ("snapshot: 65", True), ("snapshot: 66", False)],
)
def test_the_copy_of_a_snapshot_counts_where_one_will_be_written(
    settings: str, copies: bool
) -> None:
    job = long_job(corrections=55, extra=settings)  # 65 iterations, some 10 seconds

    plan = forecast(job, PROBE, free=10**12)

    per_pixel = 2000 + 2 * 55 * PAIR_BYTES if copies else 3000 + 55 * PAIR_BYTES
    assert growth(plan) == pytest.approx(100_000 + per_pixel * 400 * 300)


def test_a_run_of_many_minutes_writes_snapshots_unless_told_otherwise() -> None:
    slow = [dataclasses.replace(m, evaluation_s=100 * m.evaluation_s) for m in PROBE.measurements]
    usual, never = (
        forecast(long_job(corrections=55, extra=e), Probe(tuple(slow), 0), free=10**12)
        for e in ("", "snapshot: 0")
    )

    assert growth(usual) > growth(never)


def test_room_is_kept_for_a_snapshot_that_a_stop_would_write() -> None:
    job = long_job(corrections=55)
    painting = growth(forecast(job, PROBE, free=10**12))

    plan = forecast(job, PROBE, free=round(painting / 0.9) + 1)

    assert plan.corrections is not None
    assert plan.corrections < 55


def test_passes_are_those_of_the_probe_and_then_one_or_seldom_two() -> None:
    found = Probe((measured(1000, extra=3), measured(4000, extra=1)), pair_s=0)

    first, last = forecast(long_job(), found, free=10**12).stages
    adam = forecast(long_job("adam"), found, free=10**12).stages[1]

    assert first.evaluations == 5 + 1  # as many as were tried at the nearest size
    assert last.evaluations == pytest.approx(60 + 1 + 0.01 * 55)
    assert adam.evaluations == 60 + 1


def test_passes_of_a_real_run_are_foretold() -> None:
    """Counts repeat from run to run, so they are known to a few in a hundred."""
    job = interrupted_job("lbfgs", get_backend("numpy"))
    runs = []
    for iterations in (5, 60):
        short = dataclasses.replace(job, stages=(Stage(24, iterations),))
        runs.append([p.record.evaluations for p in run_job(short).history][-1])
    tried = dataclasses.replace(measured(24 * 18, extra=runs[0] - 5), size=24)

    plan = forecast(dataclasses.replace(job, stages=(Stage(24, 60),)), Probe((tried,), 0))

    assert plan.stages[0].evaluations == pytest.approx(runs[1], rel=0.05)


def test_waking_up_and_fresh_memory_cost_time_once() -> None:
    slow = dataclasses.replace(PROBE, wake_s=3.0, byte_s=1e-8)

    usual, plan = (forecast(long_job(), found, free=10**12) for found in (PROBE, slow))

    assert plan.wake_s == pytest.approx(3.0 + 1e-8 * growth(plan))
    assert plan.seconds == pytest.approx(usual.seconds + plan.wake_s)


def test_pictures_on_the_way_cost_their_time() -> None:
    usual, saving = (
        forecast(long_job(extra=extra), PROBE, free=10**12)
        for extra in ("", "style_transfer_param { save_every: 20 }")
    )

    last = usual.delivery_s
    assert saving.stages[1].seconds == pytest.approx(usual.stages[1].seconds + 3 * last)


def test_a_job_that_names_no_rule_is_painted_by_lbfgs_and_counted_so() -> None:
    named = long_job()
    settings = type(named.settings)()
    settings.CopyFrom(named.settings)
    settings.ClearField("type")

    unnamed = forecast(dataclasses.replace(named, settings=settings), PROBE, free=10**12)

    assert unnamed.corrections == 40
    assert growth(unnamed) == growth(forecast(named, PROBE, free=10**12))


def test_no_more_pairs_are_counted_than_iterations_can_fill() -> None:
    plans = [forecast(long_job(corrections=pairs), PROBE, free=10**12) for pairs in (60, 900)]

    assert growth(plans[0]) == growth(plans[1])


def test_the_history_is_cut_where_memory_is_short_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = long_job(corrections=40)
    free = 400_000_000  # of which 360 may be used: 100 kB + 3000 B per pixel are 360.1

    plan = forecast(job, PROBE, free=int(free * 1.05))

    assert plan.fits
    assert plan.corrections is not None
    assert FEWEST_PAIRS <= plan.corrections < 40
    assert growth(plan) <= free * 1.05 * 0.9
    more = forecast(long_job(corrections=plan.corrections + 1), PROBE, free=10**12)
    assert growth(more) > free * 1.05 * 0.9
    changed = with_history(job, plan)
    assert changed.settings.lbfgs_corrections == plan.corrections
    assert job.settings.lbfgs_corrections == 40
    assert "memory is short" in changed.notes[-1]
    assert "memory is short" in caplog.text


def test_a_run_that_cannot_fit_is_refused_with_the_largest_size_that_does() -> None:
    plan = forecast(long_job(), PROBE, free=100_000_000)

    assert plan.largest_size is not None
    with pytest.raises(UsageError, match=rf"largest size that fits is {plan.largest_size}$"):
        plan.check()
    for size, fits in ((plan.largest_size, True), (plan.largest_size + 1, False)):
        job = dataclasses.replace(long_job(), stages=(Stage(size, 60),))
        assert forecast(job, PROBE, free=100_000_000).fits is fits


def test_small_runs_are_not_probed_before_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "probe", lambda job: pytest.fail("probed"))
    job = long_job()

    assert fitted(job) is job


def test_runs_near_the_limit_are_probed_and_cut_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "probe", lambda job: PROBE)
    monkeypatch.setattr(forecast_module, "available_bytes", lambda: 420_000_000)
    job = dataclasses.replace(long_job(), stages=(Stage(400, 60),))
    assert rough_bytes(job) > 420_000_000 / 3 or pytest.fail("the example is too small")

    assert fitted(job).settings.lbfgs_corrections < 40
    monkeypatch.setattr(forecast_module, "available_bytes", lambda: 100_000_000)
    with pytest.raises(UsageError, match="memory: the run would not fit"):
        fitted(job)


REAL = """
import dataclasses, json, sys
from pathlib import Path
import numpy as np
from nst.backend import get_backend
from nst.io.prototxt import read_solver
from nst.style.forecast import forecast
from nst.style.job import anchored, load_job
from nst.style.machine_memory import peak_bytes
from nst.style.run import StyleRun
from nst.style.settings import with_preset
from nst.style.schedule import Stage
from nst.proto import SolverParameter

folder = Path(sys.argv[1])
flags = SolverParameter()
flags.style_transfer_param.preset = "gatys"
settings = SolverParameter(net=str(folder / "net.prototxt"))
settings.weights.append(str(folder / "quickstart.caffemodel"))
flags.lbfgs_corrections = 4
settings = with_preset(settings, flags)
style = settings.style_transfer_param
del style.content.layer[:]
style.content.layer.add(name="conv3_1")
term = style.style.add()
for name in ("conv1_1", "conv2_1", "conv3_1"):
    term.layer.add(name=name)
rng = np.random.default_rng(0)
picture = rng.uniform(0, 255, (120, 160, 3))
job = load_job(settings, get_backend(sys.argv[2]), content=picture, styles=[picture])
job = dataclasses.replace(job, stages=(Stage(160, 2), Stage(300, 2)))
plan = forecast(job)
StyleRun(job).run()
print(json.dumps([plan.peak_bytes, peak_bytes()]))
"""


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_the_predicted_peak_is_within_15_percent_of_the_real_one(engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAL, str(REPO / "models/quickstart"), engine],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    predicted, real = json.loads(done.stdout.splitlines()[-1])
    assert predicted == pytest.approx(real, rel=0.15)
