"""Every backward is the derivative of its forward, and keeps the contract on diffs."""

from __future__ import annotations

import pytest
from support.gradcheck import check_gradients
from support.gradient_cases import CASES, GradientCase

from nst.backend import Backend

ALL = [
    pytest.param(case, id=f"{type_name}: {case.name}")
    for type_name, cases in CASES.items()
    for case in cases
]


@pytest.mark.parametrize("case", ALL)
def test_backward_is_the_derivative_of_forward(case: GradientCase, backend: Backend) -> None:
    check_gradients(backend, case.text, case.bottoms, **case.options)
