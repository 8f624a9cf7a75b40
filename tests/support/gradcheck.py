"""Gradient check of one layer: its backward against central differences of its forward, in float64.

The objective is the inner product of the tops with a random cotangent, never with ones. It is differentiated
along random directions and, for small blobs, along every axis. On the way the contract is checked: bottom
diffs start as NaN and must be overwritten where asked for and left alone elsewhere; parameter diffs start as
known values and must be added to, or left alone where the layer is told not to propagate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from support.layer_rig import LayerRig, write

from nst.backend import Backend
from nst.core import TEST

Values = NDArray[Any]

EVERY_ELEMENT_UP_TO = 64
DIRECTIONS = 4


def check_gradients(
    backend: Backend,
    text: str,
    bottoms: Sequence[ArrayLike],
    *,
    tops: int = 1,
    wrt: Sequence[int] | None = None,
    wrt_params: Sequence[int] | None = None,
    params: Sequence[ArrayLike] | None = None,
    unused_tops: Sequence[int] = (),
    fresh: bool = False,
    phase: int = TEST,
    in_place: bool = False,
    seed: int = 7,
    step: float = 1e-6,
    tolerance: float = 1e-6,
    context: dict[str, Any] | None = None,
) -> None:
    """Asserts that backward is the derivative of forward.

    Args:
        text: prototxt of the layer: `type` and parameters.
        bottoms: values of the bottoms; keep them off kinks by more than `step`.
        wrt: bottoms with a gradient (all by default); the others must stay untouched.
        wrt_params: parameter blobs with a gradient (all by default); the others must stay untouched.
        params: values of the parameter blobs, random normal by default.
        unused_tops: tops whose gradient the layer is documented not to use; it is random all the same.
        fresh: the layer carries state from forward to forward, so make a new one for each.
        step: half the distance of the two points of a difference.
        tolerance: allowed error, relative to the larger of 1 and both values.
    """

    def make() -> LayerRig:
        return LayerRig(
            backend, text, bottoms, tops=tops, phase=phase, in_place=in_place, context=context
        )

    rig = make()
    draw = np.random.default_rng(seed)
    for i, blob in enumerate(rig.params):
        write(blob, "data", draw.normal(size=blob.shape) if params is None else params[i])
    check = _Check(
        rig, draw, wrt, wrt_params, step, tolerance, unused_tops, make if fresh else None
    )
    check.every_gradient()
    check.single_bottoms()
    check.frozen_parameters()


class _Check:
    """One layer under test: its starting values, its cotangents, its analytic gradients."""

    def __init__(
        self,
        rig: LayerRig,
        draw: np.random.Generator,
        wrt: Sequence[int] | None,
        wrt_params: Sequence[int] | None,
        step: float,
        tolerance: float,
        unused_tops: Sequence[int],
        make: Callable[[], LayerRig] | None,
    ) -> None:
        self.make, self.unused_tops = make, unused_tops
        self.rig, self.draw, self.step, self.tolerance = rig, draw, step, tolerance
        self.wrt = list(range(len(rig.bottom)) if wrt is None else wrt)
        self.wrt_params = list(range(len(rig.params)) if wrt_params is None else wrt_params)
        self.inputs = [blob.to_host().copy() for blob in rig.bottom]
        self.param_values = [blob.to_host().copy() for blob in rig.params]
        self.rng_state = rig.rng.state()
        tops = self.forward()
        self.cotangents = [np.asarray(draw.normal(size=np.shape(y)) + 0.1) for y in tops]

    def forward(self) -> list[Values]:
        """Tops for the present parameter values and the starting bottoms and random numbers."""
        if self.make is not None:
            self._renew(self.make())
        for blob, values in zip(self.rig.bottom, self.inputs, strict=True):
            write(blob, "data", values)
        self.rig.rng.restore(self.rng_state)
        return self.rig.forward()

    def _renew(self, rig: LayerRig) -> None:
        """Goes on with a new layer of the same parameters."""
        old = self.rig.layer
        for mine, theirs in zip(rig.params, old.params, strict=True):
            write(mine, "data", theirs.to_host())
        rig.layer.params_propagate_down = old.params_propagate_down
        self.rig = rig

    def objective(self) -> float:
        pairs = enumerate(zip(self.forward(), self.cotangents, strict=True))
        return float(sum(np.vdot(y, u) for i, (y, u) in pairs if i not in self.unused_tops))

    def backward(self, wanted: Sequence[int]) -> tuple[list[Values], list[Values], list[Values]]:
        """Returns bottom diffs, parameter diffs, and what the parameter diffs held before."""
        self.forward()
        before = [np.asarray(self.draw.normal(size=blob.shape)) for blob in self.rig.params]
        for blob in self.rig.bottom:
            write(blob, "diff", np.nan)
        for blob, values in zip(self.rig.params, before, strict=True):
            write(blob, "diff", values)
        down = [i in wanted for i in range(len(self.rig.bottom))]
        bottom = self.rig.backward(self.cotangents, down)
        return bottom, [blob.diff_to_host().copy() for blob in self.rig.params], before

    def every_gradient(self) -> None:
        bottom, param, before = self.backward(self.wrt)
        for i, analytic in enumerate(bottom):
            if i in self.wrt:
                self.compare(f"bottom {i}", self.inputs[i], analytic, self.objective)
            else:
                assert np.isnan(analytic).all(), self.says(
                    f"bottom {i}: written without being asked"
                )
        for i in range(len(param)):
            added = param[i] - before[i]
            if i in self.wrt_params:
                self.compare(f"parameter {i}", self.param_values[i], added, self.with_param(i))
            else:
                assert not added.any(), self.says(
                    f"parameter {i}: diff changed, it has no gradient"
                )

    def single_bottoms(self) -> None:
        """Asked for one bottom alone, the layer writes that one as before and no other."""
        together, _, _ = self.backward(self.wrt)
        for i in self.wrt if len(self.inputs) > 1 else ():
            alone, _, _ = self.backward([i])
            np.testing.assert_array_equal(alone[i], together[i], self.says(f"bottom {i} alone"))
            for j in set(range(len(alone))) - {i}:
                assert np.isnan(alone[j]).all(), self.says(
                    f"bottom {j}: written, only {i} asked for"
                )

    def frozen_parameters(self) -> None:
        """With params_propagate_down off, parameter diffs stay as they are."""
        self.rig.layer.params_propagate_down = [False] * len(self.rig.params)
        _, param, before = self.backward(self.wrt)
        for i, (now, then) in enumerate(zip(param, before, strict=True)):
            np.testing.assert_array_equal(now, then, self.says(f"parameter {i} is frozen"))

    def with_param(self, index: int) -> Callable[[], float]:
        """The objective after copying the (changed) value of a parameter into the layer."""

        def objective() -> float:
            write(self.rig.params[index], "data", self.param_values[index])
            return self.objective()

        return objective

    def compare(
        self, what: str, values: Values, analytic: Values, objective: Callable[[], float]
    ) -> None:
        """Differentiates the objective by `values`, which it reads, and compares."""
        assert np.isfinite(analytic).all(), self.says(
            f"{what}: not written at {np.argwhere(~np.isfinite(analytic))[0]}"
        )
        start = values.copy()
        worst, text = 0.0, ""
        for name, direction in self.directions(values.shape):
            numeric = self.slope(values, start, direction, objective)
            expected = float(np.vdot(analytic, direction))
            error = abs(numeric - expected) / max(1.0, abs(numeric), abs(expected))
            if not error <= worst:
                worst = error
                text = f"{what}, {name}: numeric {numeric:.12g}, analytic {expected:.12g}"
        values[...] = start
        objective()  # puts the starting values back into the layer
        assert worst <= self.tolerance, self.says(f"{text} (relative error {worst:.2e})")

    def slope(
        self, values: Values, start: Values, direction: Values, objective: Callable[[], float]
    ) -> float:
        values[...] = start + self.step * direction
        above = objective()
        values[...] = start - self.step * direction
        return (above - objective()) / (2 * self.step)

    def directions(self, shape: tuple[int, ...]) -> Iterator[tuple[str, Values]]:
        """Random unit directions, and every axis of a small blob."""
        for i in range(DIRECTIONS):
            direction = np.asarray(self.draw.normal(size=shape))
            yield f"random direction {i}", direction / max(1e-12, np.linalg.norm(direction))
        for index in np.ndindex(shape) if np.prod(shape) <= EVERY_ELEMENT_UP_TO else ():
            direction = np.zeros(shape)
            direction[index] = 1
            yield f"element {index}", direction

    def says(self, message: str) -> str:
        return f"gradient check of `{self.rig.text}` on {self.rig.layer.backend.name}: {message}"


def off_kinks(values: Values, kinks: Sequence[float] = (0.0,), margin: float = 0.05) -> Values:
    """Moves values that lie within `margin` of a kink to its edge."""
    moved = np.array(values, np.float64)
    for kink in kinks:
        near = np.abs(moved - kink) < margin
        moved[near] = kink + np.where(moved[near] < kink, -margin, margin)
    return moved
