"""Lowering: what a backend's runner may do with a net. Frozen records, no arrays; `print` shows them.

Per layer it says which operation the layer is (None: only the layer's own code will do), and which
convolutions, batch normalisations, scales and sums run as one with what works in place after them. With
`recycle` it also says which gradients may share a buffer: two may if one is dead, its producer having run
backward, before the other is born.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nst.backend.geometry import PoolGeometry
from nst.backend.operations import (
    AddUp,
    BatchNormalise,
    Border,
    ChannelScale,
    Convolve,
    Distance,
    Fork,
    Gate,
    GradientSlots,
    GramMatrix,
    Join,
    Multiply,
    Normalise,
    Operation,
    Pool,
    Rectify,
    Step,
)
from nst.core import Layer, Shape
from nst.layers.batch_norm import BatchNorm
from nst.layers.concat import Concat
from nst.layers.convolution import Convolution
from nst.layers.dropout import Dropout
from nst.layers.eltwise import Eltwise
from nst.layers.euclidean_loss import EuclideanLoss
from nst.layers.event import Event
from nst.layers.gram import Gram
from nst.layers.lrn import LRN
from nst.layers.pad import Pad
from nst.layers.pooling import Pooling
from nst.layers.relu import ReLU
from nst.layers.scalar import Scalar
from nst.layers.scale import Scale
from nst.layers.split import Split
from nst.net.plan import BackwardPlan, PlannedLayer, Wiring
from nst.proto import EltwiseParameter, EventParameter, GramParameter


@dataclass(frozen=True)
class Execution:
    """Per layer the step a runner may take, and the gradients' buffers (None: each blob keeps its own)."""

    steps: tuple[Step | None, ...]
    gradients: GradientSlots | None

    def __str__(self) -> str:
        lines = [f"{step.index:4d} {step.name:24s} {step.operation}" for step in self.steps if step]
        if self.gradients is not None:
            lines += [f"gradient of {name}: {slot}" for name, slot in self.gradients.slots.items()]
        return "\n".join(lines)


def lower(
    wiring: Wiring,
    layers: Sequence[Layer],
    shapes: Sequence[Sequence[Shape]],
    backward: BackwardPlan,
    *,
    recycle: bool,
) -> Execution:
    """Describes a built net for a runner.

    shapes: the bottom shapes of every layer. recycle: whether gradients of inner blobs may be lost.
    """
    operations = [
        None if _is_spoiled(wiring, layers, i) else _operation(layer, shapes[i])
        for i, layer in enumerate(layers)
    ]
    _join(wiring, operations, backward, recycle)
    steps = [
        None if operation is None else Step(i, layer.name, operation)
        for i, (layer, operation) in enumerate(zip(layers, operations, strict=True))
    ]
    slots = _gradient_slots(wiring, steps, backward) if recycle else None
    return Execution(tuple(steps), slots)


# ---- layers as operations ------------------------------------------------------------------------


def _operation(layer: Layer, shapes: Sequence[Shape]) -> Operation | None:
    """The operation of a layer on feature maps (N, C, H, W); None for every other layer but distances."""
    if isinstance(layer, EuclideanLoss) and all(shapes):
        return Distance()
    if not shapes or any(len(shape) != 4 for shape in shapes):
        return None
    operation = _of_one_map(layer, shapes[0][1]) if len(shapes) == 1 else None
    return operation or of_any_number(layer)


def _of_one_map(layer: Layer, channels: int) -> Operation | None:
    if isinstance(layer, Convolution) and layer.axis == 1:
        return Convolve(layer.geometry, False)
    if isinstance(layer, ReLU | LRN) and layer.top_is_overwritten:
        return None  # it must keep its own copy of what it needs going back
    if isinstance(layer, ReLU) and layer.negative_slope >= 0:
        return Rectify(layer.negative_slope, False)
    if isinstance(layer, BatchNorm):
        return BatchNormalise(
            layer.uses_stored, layer.fraction, layer.eps, False, not layer.uses_stored
        )
    if isinstance(layer, Scale) and layer.axis == 1 and layer.params[0].shape == (channels,):
        return ChannelScale(False, False)
    if isinstance(layer, Pooling) and len(layer.param.top) == 1:
        return Pool(None if layer.is_global else layer.window, layer.takes_max)
    if isinstance(layer, Pad):
        return Border(layer.pads, layer.mode)
    if isinstance(layer, LRN) and not layer.is_within_channel:
        return Normalise(layer.size, layer.alpha, layer.beta, layer.k)
    if isinstance(layer, Gram) and layer.axis == 2:
        per_channel = layer.normalize == GramParameter.CHW
        per_pixel = per_channel or layer.normalize == GramParameter.HW
        return GramMatrix(layer.alpha_beta, per_pixel, per_channel, layer.scales_gradient)
    if isinstance(layer, Scalar) and layer.multiplies:
        return Multiply(layer.value, layer.value if layer.scales_gradient else 1.0)
    if isinstance(layer, Dropout) and not layer.drops:
        return Multiply(1.0, 1.0)
    return None


def of_any_number(layer: Layer) -> Operation | None:
    """The operation of a layer that does not care for the number or rank of its bottoms."""
    if isinstance(layer, Split):
        return Fork()
    if isinstance(layer, Concat) and layer.axis == 1:
        return Join(not layer.top_is_overwritten)
    if isinstance(layer, Eltwise) and layer.operation == EltwiseParameter.SUM:
        return AddUp(tuple(layer.coefficients), False)
    if isinstance(layer, Event) and layer.top_is_overwritten:
        return None  # its top is not to be its bottom
    if isinstance(layer, Event) and layer.gate != EventParameter.TARGET_NONZERO:
        return Gate("feature" if layer.gate == EventParameter.FEATURE_POSITIVE else "")
    return None


def _is_spoiled(wiring: Wiring, layers: Sequence[Layer], i: int) -> bool:
    """Whether a per-channel layer reads a split blob that another layer changes in place: then only the
    layer's own code keeps the values that it needs going back."""
    if not isinstance(layers[i], BatchNorm | Scale):
        return False
    bottoms = set(wiring.layers[i].bottoms)
    return any(
        isinstance(layer, Split) and layer.top_is_overwritten and bottoms & set(planned.tops)
        for planned, layer in zip(wiring.layers[:i], layers, strict=False)
    )


# ---- neighbours that run as one -------------------------------------------------------------------


def _join(
    wiring: Wiring, operations: list[Operation | None], backward: BackwardPlan, recycle: bool
) -> None:
    """Marks in `operations` what runs as one with the layer after it, last ones first."""
    for i in reversed(range(len(operations))):
        first, second = operations[i], operations[i + 1] if i + 1 < len(operations) else None
        in_place = second is not None and _works_in_place(wiring, i + 1, wiring.layers[i])
        rectifies = in_place and isinstance(second, Rectify) and second.slope == 0
        if isinstance(first, ChannelScale):
            first = replace(first, keeps_input=any(backward.params[i][:1]))
        if isinstance(first, Convolve) and rectifies:
            defers = recycle and not any(backward.params[i])
            pool = _pool_after(wiring, operations, i) if defers else None
            if pool is not None:
                operations[i + 2] = replace(pool, gates=True)
            keeps = defers and pool is None and backward.layers[i]
            operations[i] = replace(
                first, rectified=True, keeps_gate=keeps, pooled=pool is not None
            )
            operations[i + 1] = Rectify(0.0, defers)
        elif isinstance(first, AddUp):
            operations[i] = replace(first, rectified=rectifies)
        elif isinstance(first, BatchNormalise | ChannelScale):
            scales = in_place and isinstance(second, ChannelScale)
            keeps = first.keeps_input or (
                scales and isinstance(second, ChannelScale) and second.keeps_input
            )
            operations[i] = replace(first, joined=rectifies or scales, keeps_input=keeps)
            if rectifies:
                operations[i + 1] = Rectify(0.0, True)


def _works_in_place(wiring: Wiring, i: int, before: PlannedLayer) -> bool:
    """Whether layer i does nothing but change the only top of the layer before it."""
    layer = wiring.layers[i]
    return len(before.tops) == 1 and layer.bottoms == layer.tops == before.tops


def _pool_after(wiring: Wiring, operations: list[Operation | None], i: int) -> Pool | None:
    """The maximum over windows of 2x2 that alone reads rectified convolution i; None if there is none."""
    pool = operations[i + 2] if i + 2 < len(operations) else None
    if not isinstance(pool, Pool) or wiring.layers[i + 2].bottoms != wiring.layers[i].tops:
        return None
    halves = PoolGeometry((2, 2), (2, 2), (0, 0))
    return pool if pool.takes_max and pool.window == halves else None


# ---- lifetimes of gradients --------------------------------------------------------------------------


@dataclass
class _Family:
    """Blobs whose gradients live in one buffer; `first` and `last` are the layers between which they live."""

    names: list[str]
    first: int
    last: int


def _gradient_slots(
    wiring: Wiring, steps: Sequence[Step | None], backward: BackwardPlan
) -> GradientSlots:
    """Gives every family the lowest buffer that no family alive at the same time has."""
    sums = _sums(wiring, steps)
    families = _families(wiring, steps, backward, sums)
    slots: dict[str, int] = {}
    placed: list[tuple[_Family, int]] = []
    for family in sorted(families, key=lambda f: -f.last):
        taken = {
            slot
            for other, slot in placed
            if other.first <= family.last and family.first <= other.last
        }
        slot = next(number for number in range(len(placed) + 1) if number not in taken)
        placed.append((family, slot))
        slots.update((name, slot) for name in family.names)
    return GradientSlots(slots, {top: bottom for top, bottom in sums.items() if top in slots})


def _sums(wiring: Wiring, steps: Sequence[Step | None]) -> dict[str, str]:
    """Tops of splits -> the bottom they were split from."""
    names = wiring.blob_names
    return {
        names[top]: names[planned.bottoms[0]]
        for planned, step in zip(wiring.layers, steps, strict=True)
        if step is not None and isinstance(step.operation, Fork)
        for top in planned.tops
    }


def _families(
    wiring: Wiring, steps: Sequence[Step | None], backward: BackwardPlan, sums: dict[str, str]
) -> list[_Family]:
    """Blobs written and read by steps only, split tops with their bottom, joined maps with their parts."""
    heads = dict(sums)
    for planned, step in zip(wiring.layers, steps, strict=True):
        if step is not None and isinstance(step.operation, Join):
            top = wiring.blob_names[planned.tops[0]]
            parts = {wiring.blob_names[bottom] for bottom in planned.bottoms}
            heads.update((part, top) for part in parts if part not in sums)
    families: dict[str, _Family] = {}
    spoiled: set[str] = set()
    for planned, step in zip(wiring.layers, steps, strict=True):
        runs = step is not None and backward.layers[planned.index]
        gates = step is not None and isinstance(step.operation, Pool) and step.operation.gates
        planar_tops = step is not None and isinstance(step.operation, GramMatrix | Distance)
        for number in {*planned.bottoms, *planned.tops}:
            name = wiring.blob_names[number]
            head = _head(name, heads)
            family = families.setdefault(head, _Family([], planned.index, planned.index))
            if name not in family.names:
                family.names.append(name)
            family.first = min(family.first, planned.index)
            if gates and number in planned.tops:  # it is read by the convolution before the ReLU
                family.first = min(family.first, planned.index - 2)
            if not (planar_tops and name in sums):  # such a reader adds when the split is collected
                family.last = max(family.last, planned.index)
            if not runs or (planar_tops and number in planned.tops):
                spoiled.add(head)
    return [family for head, family in families.items() if head not in spoiled]


def _head(name: str, heads: dict[str, str]) -> str:
    while name in heads:
        name = heads[name]
    return name
