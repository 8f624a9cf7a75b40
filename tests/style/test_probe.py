"""The probe behind a plan: which sizes it tries, what it measures, and the lines through that."""

from __future__ import annotations

import dataclasses

import pytest
from support.measurements import measured
from support.style_jobs import interrupted_job

from nst.backend import get_backend
from nst.style.job import StyleJob
from nst.style.probe import Measurement, Probe, line_through, probe
from nst.style.probe_process import (
    BUDGET_SECONDS,
    FIRST_SIZE,
    ITERATIONS,
    LEAST_STEP,
    MOST_STEP,
    next_size,
)
from nst.style.schedule import Stage


def test_a_probe_measures_in_another_process() -> None:
    job = interrupted_job("lbfgs", get_backend("numpy"))

    found = probe(dataclasses.replace(job, stages=(Stage(40, 4),)))

    (measurement,) = found.measurements
    assert (measurement.size, measurement.pixels) == (40, 30 * 40)
    assert measurement.evaluations > measurement.iterations >= ITERATIONS
    assert measurement.evaluation_s > 0
    assert measurement.delivery_s > 0
    assert found.pair_s > 0


class TestSizes:
    """Which sizes are tried: the smallest of the job, then the largest, as far as time and memory go."""

    def job(self, *sizes: int, iterations: int = 10) -> StyleJob:
        job = interrupted_job("lbfgs", get_backend("numpy"))
        return dataclasses.replace(job, stages=tuple(Stage(size, iterations) for size in sizes))

    def at(self, size: int, seconds_per_pixel: float) -> Measurement:
        pixels = size * size * 3 // 4
        each = seconds_per_pixel * pixels
        return dataclasses.replace(
            measured(pixels, extra=1), size=size, setup_s=each, evaluation_s=each, delivery_s=0.0
        )

    def test_the_first_is_the_job_s_smallest_unless_that_is_large(self) -> None:
        assert next_size(self.job(64, 512), [], 0, None) == 64
        assert next_size(self.job(1024), [], 0, None) == FIRST_SIZE

    def test_then_in_steps_to_the_largest_if_that_is_cheap(self) -> None:
        job, quick = self.job(64, 200), 1e-9
        done: list[Measurement] = []

        while (size := next_size(job, done, 0, None)) is not None:
            done.append(self.at(size, quick))

        assert [m.size for m in done] == [64, round(64 * MOST_STEP), 200]
        assert next_size(self.job(64), [self.at(64, quick)], 0, None) is None

    def test_what_costs_too_much_is_left_out(self) -> None:
        job, slow = self.job(128, 300), 2.5e-5
        done = [self.at(128, slow)]

        size = next_size(job, done, 0, None)

        assert size is not None
        assert 128 * LEAST_STEP < size < 128 * MOST_STEP
        pixels = self.at(size, slow).pixels
        # two set-ups, two iterations, four iterations, one pass more each: 10 passes
        assert 10 * slow * pixels == pytest.approx(BUDGET_SECONDS, rel=0.02)
        assert next_size(job, [*done, self.at(size, slow)], BUDGET_SECONDS, None) is None

    def test_a_long_run_is_worth_a_longer_look(self) -> None:
        slow = 2.5e-5
        short, long = (
            next_size(self.job(128, 256, iterations=n), [self.at(128, slow)], 0, None)
            for n in (10, 1000)
        )

        assert short is not None
        assert short < 256
        assert long == 256

    def test_two_sizes_are_tried_whatever_they_cost(self) -> None:
        size = next_size(self.job(128, 512), [self.at(128, 1.0)], 10**6, None)

        assert size == round(LEAST_STEP * 128)

    def test_no_more_than_half_of_the_free_memory_is_taken(self) -> None:
        size = next_size(self.job(128, 2048), [self.at(128, 1e-9)], 0, 200_000_000)

        assert size is not None
        growth = Probe((self.at(128, 1e-9),), 0).at(size * size * 0.75, lambda m: m.peak_bytes)
        assert growth == pytest.approx(1e8, rel=0.02)


class TestLine:
    def test_between_and_beyond_the_points(self) -> None:
        points = [(1.0, 3.0), (2.0, 5.0), (4.0, 6.0)]

        assert [line_through(points, x) for x in (1, 1.5, 2, 3, 4, 6)] == [3, 4, 5, 5.5, 6, 7]
        assert line_through(points, 0.5) == 2

    def test_one_point_is_taken_in_proportion(self) -> None:
        assert line_through([(2.0, 5.0)], 6.0) == 15

    def test_it_neither_falls_nor_goes_below_zero(self) -> None:
        assert line_through([(1.0, 3.0), (2.0, 1.0)], 10.0) == 1
        assert line_through([(1.0, 1.0), (2.0, 5.0)], 0.5) == 0
