"""The mean of the last iterates: what a size gives, through stops and recoveries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import Backend
from nst.errors import UsageError
from nst.io.prototxt import parse_solver
from nst.proto import StyleTransferParameter
from nst.style.averaging import IterateMean
from nst.style.job import StyleJob, load_job
from nst.style.progress import Progress
from nst.style.run import StyleRun
from nst.style.run_snapshot import SnapshotFile


def job(backend: Backend, average: int, extra: str = "", base_lr: float = 8) -> StyleJob:
    settings = parse_solver(
        f'type: "Adam" base_lr: {base_lr} momentum: 0.9 max_iter: 8 style_transfer_param {{ size: 24 '
        f"average_iterates: {average} style_statistic: W2 style_loss: RELATIVE "
        f"content_loss: RELATIVE transform_param {{ mean_value: 128 }} {extra} }}"
    )
    return load_job(
        settings,
        backend,
        content=picture(36, 48, 1),
        styles=[picture(30, 20, 2)],
        net=tiny_net(),
        weights=tiny_weights(),
    )


def test_the_result_is_the_mean_of_the_last_iterates(backend: Backend) -> None:
    seen = []

    def collect(progress: Progress, run: StyleRun) -> None:
        assert run.painter is not None
        seen.append(run.painter.picture())

    result = StyleRun(job(backend, 3), [collect]).run()

    expected = np.clip(np.mean(seen[-3:], axis=0), 0, 255)
    np.testing.assert_allclose(result.pixels, expected, atol=1e-3)
    assert np.abs(result.pixels - np.clip(seen[-1], 0, 255)).max() > 1


def test_a_window_longer_than_the_run_takes_all_iterates() -> None:
    mean = IterateMean.of(StyleTransferParameter(average_iterates=99), 3)

    for iteration, value in ((1, 2.0), (2, 4.0), (3, 9.0)):
        mean.add(iteration, np.full((1, 3, 2, 2), value, np.float32))

    np.testing.assert_allclose(mean.mean, 5)


def test_a_run_stopped_before_the_window_gives_its_last_iterate(backend: Backend) -> None:
    def stop(progress: Progress, run: StyleRun) -> None:
        if progress.done == 3:
            run.stop()

    averaged = StyleRun(job(backend, 2), [stop]).run()
    plain = StyleRun(job(backend, 0), [stop]).run()

    np.testing.assert_array_equal(averaged.pixels, plain.pixels)


@pytest.mark.parametrize("stop_at", [2, 6, 8, 15])
def test_resumed_averages_are_those_of_a_run_that_never_stopped(
    stop_at: int, backend: Backend, tmp_path: Path
) -> None:
    sizes = "sizes: [16, 24]"

    def stop(progress: Progress, run: StyleRun) -> None:
        if progress.done == stop_at:
            run.stop()

    path = tmp_path / "run.snapshot"
    StyleRun(job(backend, 4, sizes), [stop], snapshots=SnapshotFile(path)).run()

    resumed = StyleRun(job(backend, 4, sizes), resume=path).run()

    np.testing.assert_array_equal(resumed.pixels, StyleRun(job(backend, 4, sizes)).run().pixels)


def test_a_run_that_goes_back_averages_anew() -> None:
    mean = IterateMean(3)
    mean.add(3, np.full((1, 3, 2, 2), np.nan, np.float32))

    mean.forget()
    mean.add(3, np.ones((1, 3, 2, 2), np.float32))

    np.testing.assert_array_equal(mean.mean, 1)


def test_a_decaying_mean_is_the_running_mean_without_its_bias(rng: np.random.Generator) -> None:
    pictures = rng.normal(size=(7, 1, 3, 2, 2)).astype(np.float32)
    mean = IterateMean.of(StyleTransferParameter(average_decay=0.8), 6)

    for iteration, picture_ in enumerate(pictures):
        mean.add(iteration, picture_)

    running = np.zeros((1, 3, 2, 2))
    for picture_ in pictures:
        running = 0.8 * running + 0.2 * picture_
    np.testing.assert_allclose(mean.mean, running / (1 - 0.8**7), rtol=1e-5)


def test_a_decaying_mean_begins_with_the_start_picture(backend: Backend) -> None:
    seen = []

    def collect(progress: Progress, run: StyleRun) -> None:
        assert run.painter is not None
        seen.append(run.painter.picture())

    run = StyleRun(job(backend, 0, "average_decay: 0.5 init { from: GRAY }"), [collect])
    result = run.run()

    weights = 0.5 ** np.arange(8, -1, -1)
    pictures = [np.full(seen[0].shape, 128), *seen]
    expected = np.tensordot(weights, pictures, 1) / weights.sum()
    np.testing.assert_allclose(result.pixels, np.clip(expected, 0, 255), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"average_decay": 1.0}, r"average_decay: got 1\.0, expected 0 \(off\) to less than 1"),
        (
            {"average_decay": 0.5, "average_iterates": 3},
            "average_iterates: a window or average_decay",
        ),
    ],
)
def test_means_that_are_none_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        IterateMean.of(StyleTransferParameter(**settings), 5)
