"""EVENT: the feature forward; backward the gradient, where the feature or the target lets it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nst.backend.cuda.device import Device
from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.features import pass_on
from nst.backend.cuda.program.places import Pinned
from nst.backend.cuda.program.values import Gate, Value
from nst.backend.operations import Gate as GateOperation
from nst.backend.programs import ProgramLayer


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """The top is the bottom. The values stay for the gate."""
    compiler.gated[layer.index] = _shown(compiler, layer)


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    operation = layer.operation
    assert isinstance(operation, GateOperation)
    x = compiler.gated[layer.index]
    pass_on(compiler, layer, 1.0, Gate(values=x) if operation.gate == "feature" else None)


def target_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """The top is the bottom. The target is an input or a multiple of one: its zeros are found once."""
    written = _input_behind(compiler, layer.bottoms[1])
    compiler.gates[layer.index] = Gate(bits=_bits(compiler, written, _shown(compiler, layer)))


def target_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    pass_on(compiler, layer, 1.0, compiler.gates[layer.index])


def _shown(compiler: Compiler, layer: ProgramLayer) -> Value:
    """The bottom's values, as the top's too."""
    x = compiler.value(layer.bottoms[0])
    if not x.in_groups:
        raise Unsupported
    compiler.values[layer.tops[0]] = x
    compiler.shared[layer.tops[0]] = layer.bottoms[0]
    return x


def _input_behind(compiler: Compiler, number: int) -> int:
    """The input that a blob is a multiple of."""
    while not compiler.is_input(number):
        number = compiler.scaled.get(compiler.root(number), -1)
        if number < 0:
            raise Unsupported
    return compiler.root(number)


def _bits(compiler: Compiler, number: int, x: Value) -> Pinned:
    """One bit per value, in the layout of `x`: is the input not zero? Found when somebody has written."""
    blob, device = compiler.blobs[number], compiler.device
    array = device.empty((x.groups,), np.uint8)

    def look(device: Device) -> None:
        values = blob.backend.to_host(blob.data)
        array[...] = device.upload(_packed(values.reshape(x.shape) != 0, x))

    compiler.refreshes.append((blob, look))
    return Pinned(array, device.address(array))


def _packed(passes: NDArray[np.bool_], x: Value) -> NDArray[np.uint8]:
    """Bits in groups of eight: of channels in a map, of whatever is next to each other in planes."""
    if x.is_map:
        padding = ((0, 0), (0, x.padded - x.shape[1]), (0, 0), (0, 0))
        passes = np.pad(passes, padding).transpose(0, 2, 3, 1)
    return np.packbits(passes.reshape(-1), bitorder="little")
