"""What goes from size to size besides the picture: the moments of first-order rules."""

from __future__ import annotations

import numpy as np
import pytest
from solvers.objectives import ObjectiveNet, quadratic
from support.style_jobs import interrupted_job

from nst.backend import Backend
from nst.proto import SolverParameter
from nst.solvers import Adam
from nst.style.hand_over import resize_moment
from nst.style.progress import Progress
from nst.style.run import StyleRun


def test_moments_are_enlarged_and_squares_stay_squares(rng: np.random.Generator) -> None:
    signed = rng.normal(size=(1, 3, 6, 5)).astype(np.float32)

    mean = resize_moment(signed, (12, 11))
    square = resize_moment(signed**2, (12, 11))
    flat = resize_moment(np.full((1, 3, 6, 5), -2.5, np.float32), (9, 7))

    assert mean.shape == square.shape == (1, 3, 12, 11)
    assert square.min() >= 0
    assert mean.min() < 0
    np.testing.assert_allclose(flat, -2.5, rtol=1e-6)


def test_adam_goes_on_with_the_memory_of_another_solver() -> None:
    """Seven steps in two solvers are seven steps in one: the bias correction counts those before."""
    param = SolverParameter(type="Adam", base_lr=0.1, momentum=0.9, momentum2=0.99, max_iter=7)
    param.lr_policy = "fixed"
    start = [np.array([1.0, -2.0, 3.0])]
    whole = ObjectiveNet(quadratic([1.0, 2.0, 3.0]), start)
    Adam(param, whole).step(7)

    halves = ObjectiveNet(quadratic([1.0, 2.0, 3.0]), start)
    first = Adam(param, halves)
    first.step(3)
    second = Adam(param, halves)
    second.steps_before = 3
    second.history = first.history
    second.step(4)

    np.testing.assert_array_equal(halves.values[0], whole.values[0])


@pytest.mark.parametrize("carried", [True, False])
def test_the_next_size_begins_where_the_moments_of_the_last_one_point(
    carried: bool, backend: Backend
) -> None:
    """Fresh Adam moves every pixel by its rate; one that remembers moves by what the mean still says."""
    extra = f"style_transfer_param {{ carry_moments: {str(carried).lower()} }}"
    pictures: dict[tuple[int, int], np.ndarray] = {}

    def collect(progress: Progress, run: StyleRun) -> None:
        assert run.painter is not None
        pictures[progress.stage, progress.iteration] = run.painter.pixels()

    StyleRun(interrupted_job("adam", backend, extra), [collect]).run()

    before, after = pictures[1, 1], pictures[1, 2]
    steps = np.abs(after - before)
    assert bool(np.median(steps) < 0.8 * 2) == carried
