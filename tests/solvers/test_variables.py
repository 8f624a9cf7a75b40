"""Parameters as one vector: order, scale, what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from solvers.objectives import ObjectiveNet, quadratic

from nst.errors import SolverError
from nst.solvers.variables import Variables

VALUES = [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([9.0]), np.array([5.0, 6.0, 7.0])]


def net(rates: list[float]) -> ObjectiveNet:
    made = ObjectiveNet(quadratic([1.0]), VALUES, lr=rates, decay=[1.0, 1.0, 2.0])
    for number, blob in enumerate(made.learnable_params):
        blob.diff[...] = 10 * (number + 1)
    return made


def test_values_come_in_net_order_without_the_frozen_ones() -> None:
    variables = Variables(net([1, 0, 1]))
    vector = variables.vector()

    variables.read_values(vector)

    np.testing.assert_array_equal(vector, [1, 2, 3, 4, 5, 6, 7])


def test_what_was_read_can_be_written_back() -> None:
    made = net([4, 0, 0.25])
    variables = Variables(made)
    vector = variables.vector()
    variables.read_values(vector)
    for blob in made.learnable_params:
        blob.data[...] = -1

    variables.write_values(vector)

    np.testing.assert_array_equal(made.values[0], VALUES[0])
    np.testing.assert_array_equal(made.values[1], [-1])
    np.testing.assert_array_equal(made.values[2], VALUES[2])


def test_a_gradient_step_in_the_vector_is_lr_mult_times_as_long_in_the_parameter() -> None:
    made = net([4, 0, 0.25])
    variables = Variables(made)
    x, g = variables.vector(), variables.vector()
    variables.read_values(x)
    variables.read_gradient(g)

    variables.write_values(x - 0.1 * g)

    np.testing.assert_allclose(made.values[0], VALUES[0] - 0.1 * 4 * 10)
    np.testing.assert_allclose(made.values[2], VALUES[2] - 0.1 * 0.25 * 30)


def test_weight_decay_has_the_gradient_of_its_value() -> None:
    variables = Variables(net([4, 1, 0.25]))
    x, g = variables.vector(), np.zeros(8)
    variables.read_values(x)
    direction = np.cos(np.arange(8.0))

    variables.add_decay(0.5, x, g)

    def value(at: float) -> float:
        return variables.add_decay(0.5, x + at * direction, np.zeros(8))

    assert (value(1e-3) - value(-1e-3)) / 2e-3 == pytest.approx(float(g @ direction))
    assert value(0) == pytest.approx(0.25 * (30 + 81 + 2 * 110))


def test_limits_are_infinite_where_none_are_given() -> None:
    made = net([1, 1, 4])
    bounds = [(np.array([-1.0, 0.0]), None), None, (None, 8.0)]

    limits = Variables(made).limits(made.learnable_params, bounds)

    assert limits is not None
    inf = np.inf
    np.testing.assert_array_equal(limits[0], [-1, 0, -1, 0, -inf, -inf, -inf, -inf])
    np.testing.assert_array_equal(limits[1], [inf, inf, inf, inf, inf, 4, 4, 4])


def test_no_limits_are_none() -> None:
    made = net([1, 1, 1])

    assert Variables(made).limits(made.learnable_params, [None] * 3) is None


def test_nothing_to_move_is_refused() -> None:
    with pytest.raises(SolverError, match="nothing to optimise"):
        Variables(net([0, 0, 0]))
