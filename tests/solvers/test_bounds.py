"""Box bounds: what fits, what is refused, and moving values into them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from solvers.runs import bowl, param

from nst.backend import Backend
from nst.core.blob import Blob
from nst.errors import UsageError
from nst.solvers import SGD
from nst.solvers.bounds import check_bounds, project


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((None, None), [[-2, 0], [1, 5]]),
        ((-1.0, None), [[-1, 0], [1, 5]]),
        ((None, 2.0), [[-2, 0], [1, 2]]),
        ((np.array([-1.0, 1.0]), np.array([[2.0], [3.0]])), [[-1, 1], [1, 3]]),
    ],
)
def test_limits_broadcast_to_the_blob(bounds: Any, expected: Any, backend: Backend) -> None:
    blob = Blob(backend, (2, 2))
    blob.data[...] = backend.asarray([[-2.0, 0.0], [1.0, 5.0]], np.float32)
    (limits,) = check_bounds([bounds], [blob])

    project(blob, limits)

    np.testing.assert_array_equal(blob.to_host(), expected)


def test_a_blob_without_bounds_is_left_alone(backend: Backend) -> None:
    blob = Blob(backend, (2,))
    blob.data[...] = 9

    project(blob, check_bounds(None, [blob])[0])

    np.testing.assert_array_equal(blob.to_host(), 9)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ([], "one entry per learnable parameter"),
        ([(np.zeros(3), None)], r"got shape \(3,\), expected one that broadcasts to \(2,\)"),
        ([(np.zeros((1, 2)), None)], r"got shape \(1, 2\)"),
        ([(1.0, 0.0)], "above its upper one"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(bounds: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        SGD(param(), bowl(), bounds=bounds)
