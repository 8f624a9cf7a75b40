"""A run that diverges goes back, more carefully, says so, and gives up with its best picture."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from support.style_jobs import interrupted_job

from nst.backend import Backend, get_backend
from nst.errors import Diverged
from nst.net import Net
from nst.style.recovery import INTERVAL, MOST_RECOVERIES, DivergenceGuard
from nst.style.run import Progress, StyleRun
from nst.style.run_snapshot import SnapshotFile, read_run_snapshot

TOO_FAST = 'type: "SGD" base_lr: 0.32 momentum: 0 style_transfer_param { iterations: [60, 5] }'
HOPELESS = 'type: "SGD" base_lr: 1e30'


def spoil(iteration: int, times: int = 1) -> object:
    """An observer that puts a NaN into the picture after that many iterations, so many times."""
    left = times

    def observe(progress: Progress, run: StyleRun) -> None:
        nonlocal left
        if progress.done == iteration and left:
            left -= 1
            assert run.painter is not None
            net: Net = run.painter.net
            net.params["input1"][0].data[0, 1, 2, 3] = np.nan

    return observe


@pytest.mark.parametrize("kind", ["adam", "sgd", "fixed"])
def test_a_run_goes_on_from_the_last_good_picture(
    kind: str, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    run = StyleRun(interrupted_job(kind, backend), [spoil(12)])  # type: ignore[list-item]

    with caplog.at_level(logging.WARNING, "nst.style"):
        result = run.run()

    (recovery,) = result.recoveries
    assert run.failure is None
    assert (recovery.stage, recovery.failed_at, recovery.back_to) == (0, 12, 10)
    assert "layer 'input1'" in recovery.reason
    assert "Went back to iteration 10" in caplog.text
    assert [progress.done for progress in result.history] == list(range(1, 31))
    assert np.isfinite(result.pixels).all()


def test_candidates_that_come_later_leave_the_good_point_alone(backend: Backend) -> None:
    """Memory of candidates that are not wanted is used again; that of the good one is not."""
    told = [9.0, 5.0, 7.0, 6.0, 8.0, 4.0, 4.5, 6.0]
    seen: list[tuple[np.ndarray, list[np.ndarray]]] = []
    guards: list[DivergenceGuard] = []

    def observe(progress: Progress, run: StyleRun) -> None:
        painter = run.painter
        if painter is None or progress.done > len(told):
            return
        if not guards:
            guards.append(DivergenceGuard(painter, 0, 1.0, []))
        loss = told[progress.done - 1]
        guards[0].watch(dataclasses.replace(progress.record, loss=loss, iteration=INTERVAL))
        seen.append((painter.pixels(), [moment.copy() for moment in painter.moments()]))
        best = min(range(1, progress.done), key=lambda i: told[i], default=None)
        good = guards[0].good
        if best is not None and good is not None:  # a loss is that of the picture before
            picture, moments = seen[best - 1]
            np.testing.assert_array_equal(good.picture, picture)
            for kept, moment in zip(
                good.history[:: len(painter.net.learnable_params)], moments, strict=True
            ):
                np.testing.assert_array_equal(kept, moment)
            assert good.loss == told[best]

    StyleRun(interrupted_job("adam", backend), [observe]).run()
    assert len(seen) == len(told) and guards[0].good is not None


def test_the_rate_is_halved_from_there_on() -> None:
    job = interrupted_job("adam", get_backend("numpy"))

    result = StyleRun(job, [spoil(12, times=2)]).run()  # type: ignore[list-item]

    assert [recovery.rate_factor for recovery in result.recoveries] == [0.5, 0.25]
    assert [p.record.lr for p in result.history] == [2.0] * 10 + [0.5] * 20


def test_momentum_goes_back_with_the_picture() -> None:
    """Without the rate, the same as a run that was never spoiled: moments and step count are restored."""
    backend = get_backend("numpy")
    steady = StyleRun(interrupted_job("adam", backend)).run()
    halved = "lr_policy: 'multistep' stepvalue: 10 gamma: 0.5 style_transfer_param { iterations: [14, 1] }"
    expected = StyleRun(interrupted_job("adam", backend, halved)).run()

    spoiled = StyleRun(
        interrupted_job("adam", backend, "style_transfer_param { iterations: [14, 1] }"),
        [spoil(12)],  # type: ignore[list-item]
    ).run()

    def losses(result: object) -> list[float]:
        return [p.record.loss for p in result.history[:14]]  # type: ignore[attr-defined]

    assert losses(spoiled)[:11] == losses(steady)[:11]
    assert losses(spoiled) == losses(expected)


def test_a_rate_that_is_too_fast_is_found_and_the_run_ends_well(backend: Backend) -> None:
    job = interrupted_job("sgd", backend, TOO_FAST)

    result = StyleRun(job).run()

    assert [recovery.rate_factor for recovery in result.recoveries] == [0.5, 0.25]
    assert result.history[-1].record.loss < result.history[0].record.loss


def test_a_hopeless_run_gives_up_with_its_best_picture(backend: Backend) -> None:
    job = interrupted_job("sgd", backend, HOPELESS)
    run = StyleRun(job)

    result = run.run()

    assert isinstance(run.failure, Diverged)
    assert "layer '" in str(run.failure)
    assert len(result.recoveries) == MOST_RECOVERIES
    np.testing.assert_allclose(result.pixels, first_picture(job), atol=1e-3)


def first_picture(job: object) -> np.ndarray:
    from nst.style.initial import initial_picture

    start = initial_picture(
        job.style_param.init,  # type: ignore[attr-defined]
        (12, 16),
        content=None,
        style=None,
        given=None,
        transform=job.transform,  # type: ignore[attr-defined]
        seed=job.seed,  # type: ignore[attr-defined]
    )
    return np.clip(start, 0, 255)


def test_a_snapshot_is_written_before_a_divergence_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "run.snapshot"
    run = StyleRun(
        interrupted_job("sgd", get_backend("numpy"), HOPELESS), snapshots=SnapshotFile(path)
    )

    result = run.run()

    stored = read_run_snapshot(path)
    assert run.failure is not None
    assert len(stored.recoveries) == MOST_RECOVERIES
    decoded = run.job.transform.decode(stored.picture)
    np.testing.assert_array_equal(np.clip(decoded, 0, 255), result.pixels)


@pytest.mark.parametrize("stop", [9, 10, 11, 12, 13, 25])
def test_recoveries_survive_a_resume_bit_for_bit(stop: int, tmp_path: Path) -> None:
    job = interrupted_job("adam", get_backend("numpy"))
    whole = StyleRun(job, [spoil(12)]).run()  # type: ignore[list-item]
    path = tmp_path / "run.snapshot"
    spoiler = spoil(12)

    def stopping(progress: Progress, run: StyleRun) -> None:
        if progress.done == stop:
            run.stop()

    observers = [spoiler, stopping]
    StyleRun(job, observers, snapshots=SnapshotFile(path)).run()  # type: ignore[arg-type]
    resumed = StyleRun(job, [spoiler], resume=path).run()  # type: ignore[list-item]

    assert resumed.recoveries == whole.recoveries
    np.testing.assert_array_equal(resumed.pixels, whole.pixels)


def test_numbers_that_are_bad_from_the_start_are_reported_at_once() -> None:
    import dataclasses

    job = interrupted_job("adam", get_backend("numpy"))
    broken = {**job.weights, "conv1_1": [a * np.nan for a in job.weights["conv1_1"]]}
    run = StyleRun(dataclasses.replace(job, weights=broken))

    result = run.run()

    assert run.failure is not None
    assert "layer 'conv1_1'" in str(run.failure)
    assert result.recoveries == ()
