"""The plan of a net: who feeds whom, and who needs backward. Frozen records, no arrays.

`wire` walks the layers once and gives every blob a number; `plan_backward` decides, from the loss weights
and learning rates of the layers that were built, which gradients are computed. Both follow Caffe's
Net::Init; what it does is listed in docs/numerics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nst.core import Layer
from nst.errors import NetError
from nst.layers import layer_class
from nst.proto import LayerParameter, NetParameter

AUTOMATIC_TOP = "(automatic)"
"""Caffe's name for the top of a loss layer that names none."""


@dataclass(frozen=True)
class PlannedLayer:
    """One layer's place in the net: its class and the numbers of the blobs it reads and writes."""

    index: int
    name: str
    param: LayerParameter
    layer_type: type[Layer]
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]


@dataclass(frozen=True)
class Wiring:
    """All layers in order, all blobs by number, the inputs in order, the outputs alphabetically."""

    layers: tuple[PlannedLayer, ...]
    blob_names: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class BackwardPlan:
    """Per layer: does it run backward, which bottoms and which parameters get a gradient."""

    layers: tuple[bool, ...]
    bottoms: tuple[tuple[bool, ...], ...]
    params: tuple[tuple[bool, ...], ...]


def wire(net: NetParameter) -> Wiring:
    """Numbers the blobs of a net whose splits are inserted.

    Raises NetError for unknown types, unknown bottoms, and a top written twice other than in place.
    """
    numbers: dict[str, int] = {}
    names: list[str] = []
    unread: set[str] = set()
    inputs: list[str] = []
    layers: list[PlannedLayer] = []
    for index, param in enumerate(net.layer):
        kind = layer_class(param.type, layer=param.name)
        bottoms = tuple(_bottom(param, j, numbers) for j in range(len(param.bottom)))
        unread.difference_update(param.bottom)
        tops = tuple(_top(param, j, numbers, names) for j in range(len(param.top)))
        unread.update(param.top)
        if kind.type == "Input":
            inputs.extend(param.top)
        if kind.is_loss:
            missing = range(len(tops), kind.tops.least)
            tops += tuple(range(len(names), len(names) + len(missing)))
            names.extend(AUTOMATIC_TOP for _ in missing)
        _check_propagate_down(param)
        layers.append(PlannedLayer(index, param.name, param, kind, bottoms, tops))
    return Wiring(tuple(layers), tuple(names), tuple(inputs), tuple(sorted(unread)))


def overwritten(wiring: Wiring) -> frozenset[int]:
    """Numbers of the layers of which a later layer, in place, changes a top."""
    writer: dict[int, int] = {}
    found: set[int] = set()
    for layer in wiring.layers:
        found.update(writer[blob] for blob in set(layer.tops) & set(layer.bottoms))
        writer.update((blob, layer.index) for blob in layer.tops)
    return frozenset(found)


def _bottom(param: LayerParameter, j: int, numbers: dict[str, int]) -> int:
    blob = param.bottom[j]
    if blob not in numbers:
        raise NetError(
            f"Unknown bottom blob '{blob}' (layer '{param.name}', bottom index {j})",
            layer=param.name,
        )
    return numbers[blob]


def _top(param: LayerParameter, j: int, numbers: dict[str, int], names: list[str]) -> int:
    blob = param.top[j]
    if j < len(param.bottom) and param.bottom[j] == blob:
        return numbers[blob]  # in place
    if blob in numbers:
        raise NetError(
            f"Top blob '{blob}' produced by multiple sources. A layer may only reuse a name in place, "
            f"as its own bottom {j}, and only while no other layer reads that blob",
            layer=param.name,
        )
    numbers[blob] = len(names)
    names.append(blob)
    return numbers[blob]


def _check_propagate_down(param: LayerParameter) -> None:
    if len(param.propagate_down) not in (0, len(param.bottom)):
        raise NetError(
            "propagate_down param must be specified either 0 or bottom_size times "
            f"(got {len(param.propagate_down)}, expected 0 or {len(param.bottom)})",
            layer=param.name,
        )


def plan_backward(
    wiring: Wiring,
    layers: Sequence[Layer],
    lr_mults: Sequence[Sequence[float]],
    *,
    force_backward: bool,
) -> BackwardPlan:
    """Decides which gradients are computed.

    lr_mults: the learning rate multiplier of every parameter blob of every layer; 0 freezes it.
    """
    needs, bottoms = _walk_forward(wiring, lr_mults)
    _walk_backward(wiring, layers, needs, bottoms)
    params = [[lr != 0 for lr in mults] for mults in lr_mults]
    if force_backward:
        for i, (planned, layer) in enumerate(zip(wiring.layers, layers, strict=True)):
            needs[i] = True
            for j in range(len(planned.bottoms)):
                bottoms[i][j] = bottoms[i][j] or layer.allows_force_backward(j)
            params[i] = [True] * len(params[i])
    return BackwardPlan(
        tuple(needs), tuple(tuple(row) for row in bottoms), tuple(tuple(row) for row in params)
    )


def _walk_forward(
    wiring: Wiring, lr_mults: Sequence[Sequence[float]]
) -> tuple[list[bool], list[list[bool]]]:
    """A layer can need backward if a bottom does or a parameter of its own is learned."""
    blob_needs = [False] * len(wiring.blob_names)
    needs: list[bool] = []
    bottoms: list[list[bool]] = []
    for planned, mults in zip(wiring.layers, lr_mults, strict=True):
        given = planned.param.propagate_down
        bottoms.append(
            [given[j] if given else blob_needs[b] for j, b in enumerate(planned.bottoms)]
        )
        # NOTE: an explicit propagate_down steers the bottom, not the layer (seen on the real Caffe)
        needs.append(any(blob_needs[b] for b in planned.bottoms) or any(mults))
        if needs[-1]:
            for top in planned.tops:
                blob_needs[top] = True
    return needs, bottoms


def _walk_backward(
    wiring: Wiring, layers: Sequence[Layer], needs: list[bool], bottoms: list[list[bool]]
) -> None:
    """Switches off what leads to no loss, and what only feeds blobs that nobody propagates to."""
    under_loss: set[str] = set()
    skipped: set[str] = set()
    names = wiring.blob_names
    for planned in reversed(wiring.layers):
        i = planned.index
        weights = layers[i].loss_weights
        tops = [names[top] for top in planned.tops]
        contributes = any(w or name in under_loss for w, name in zip(weights, tops, strict=True))
        if needs[i] and all(name in skipped for name in tops):
            needs[i] = False
            bottoms[i] = [False] * len(bottoms[i])
        if not contributes:
            needs[i] = False
        for j, bottom in enumerate(planned.bottoms):
            if contributes:
                under_loss.add(names[bottom])
            else:
                bottoms[i][j] = False
            if not bottoms[i][j]:
                skipped.add(names[bottom])
