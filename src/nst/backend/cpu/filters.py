"""Filters and biases in the engine's form, kept beside the parameter memory they were made from.

They lie in Memory.native, so that all nets that share parameters share them too. They are made again when the
parameter may have been written to: when it was handed out since, or when somebody still holds a view of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nst.backend.cpu.convolution import Packs
from nst.backend.cpu.engine import BLOCK, FloatArray, address, blocks
from nst.backend.cpu.twins import Twins, is_touched
from nst.backend.operations import BlobLike


@dataclass
class Filters:
    """What Memory.native of a weight blob holds."""

    packs: Packs = field(default_factory=dict)


@dataclass
class PaddedBias:
    """What Memory.native of a bias blob holds: the values and zeros up to a whole block."""

    values: FloatArray
    address: int


def filters_of(weights: BlobLike) -> Packs:
    """The packed filters of these weights; empty if the weights may have changed."""
    memory = weights.data_memory
    if not isinstance(memory.native, Filters) or is_touched(memory):
        memory.native, memory.exposed = Filters(), False
    packs: Packs = memory.native.packs
    return packs


def bias_of(twins: Twins, bias: BlobLike) -> int:
    """Where the bias lies, padded to whole blocks, 64-byte aligned."""
    memory = bias.data_memory
    if not isinstance(memory.native, PaddedBias) or is_touched(memory):
        values = twins.engine.array((blocks(bias.count) * BLOCK,))
        values[: bias.count] = twins.planar(memory, bias).reshape(-1)
        memory.native, memory.exposed = PaddedBias(values, address(values) or 0), False
    place: int = memory.native.address
    return place
