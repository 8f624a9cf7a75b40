"""Convolution with bias and ReLU as one launch, and the gradient of its input."""

from __future__ import annotations

import dataclasses

from nst.backend.cuda.device import ConvolutionPlan, Device, Launch
from nst.backend.cuda.graphs import Graph, Task
from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.places import Pinned, Place
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.cuda.program.weights import Filters, bias_of
from nst.backend.operations import (
    Border,
    Convolve,
    Fork,
    Pool,
    Rectify,
)
from nst.backend.programs import ProgramLayer


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """y = ReLU?(conv(x) + bias)."""
    operation = layer.operation
    assert isinstance(operation, Convolve)
    _check(compiler, layer, operation)
    x = compiler.map_of(layer.bottoms[0])
    y = compiler.new_map(layer.top_blobs[0].shape, compiler.exponents.get(f"c{layer.index}", 0))
    graph = _graph(compiler, Task.FORWARD, x, y, operation)
    filters = Filters(compiler, layer.params[0], x, y, operation)
    bias = bias_of(compiler, layer, y, "stored")
    fused = Task.FORWARD_BIAS_RELU if operation.rectified else Task.FORWARD_BIAS
    plan = compiler.device.plan(dataclasses.replace(graph, task=fused), compiler.precision)
    weights = filters.scaled(y.exponent - x.exponent)
    if plan is not None:
        launch(compiler, fused.name, plan, x.place, weights, bias, y.place)
    else:
        _forward_in_two(compiler, layer, graph, x, weights, y)
    compiler.observe(f"c{layer.index}", y)
    compiler.values[layer.tops[0]] = y
    if operation.rectified:
        _choose_gate(compiler, layer, y)


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    """Leaves the term of x; the ReLU's gate is applied to the sum of y's terms."""
    operation = layer.operation
    assert isinstance(operation, Convolve)
    number, target = layer.tops[0], layer.bottoms[0]
    if not layer.wants[0] or not compiler.has_gradient(number):
        compiler.terms.pop(number, None)
        return
    y = Value(layer.top_blobs[0].shape, Pinned(None, 0), True)
    dy = compiler.gradient(number, y, compiler.gates.pop(layer.index, None))
    compiler.add_term(target, DataGradient(compiler, layer, dy))


class DataGradient(Term):
    """The gradient of a convolution's input."""

    def __init__(self, compiler: Compiler, layer: ProgramLayer, dy: Value) -> None:
        self.compiler, self.layer, self.dy = compiler, layer, dy

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        compiler, operation = self.compiler, self.layer.operation
        assert isinstance(operation, Convolve)
        graph = _graph(compiler, Task.DATA, out, self.dy, operation)
        filters = Filters(compiler, self.layer.params[0], out, self.dy, operation)
        weights = filters.scaled(out.exponent - self.dy.exponent)
        if compiler.device.fuses_gates and gate is not None and _is_fusible(gate):
            gated = dataclasses.replace(graph, task=Task.DATA_GATED)
            plan = compiler.device.plan(gated, compiler.precision)
            if plan is not None:
                assert gate.values is not None
                operands = (self.dy.place, weights, gate.values.place, out.place)
                launch(compiler, "DATA_GATED", plan, *operands)
                return True
        plan = compiler.device.plan(graph, compiler.precision)
        if plan is None:
            raise Unsupported
        launch(compiler, "DATA", plan, self.dy.place, weights, out.place)
        return False


def _is_fusible(gate: Gate) -> bool:
    """Whether cuDNN's gated gradient passes what this gate does: where values are positive, and no more."""
    return gate.values is not None and gate.slope == 0.0


def launch(compiler: Compiler, label: str, plan: ConvolutionPlan, *operands: Place) -> None:
    """Puts a plan on the tape; all plans share one workspace."""
    compiler.workspace = max(compiler.workspace, plan.workspace)

    def bind(device: Device) -> Launch:
        addresses = [operand.address for operand in operands]
        return plan.bind(addresses, compiler.workspace_place.address)

    compiler.tape.add(label, bind, operands)


# ---- what may be compiled -----------------------------------------------------------------------------


def _check(compiler: Compiler, layer: ProgramLayer, operation: Convolve) -> None:
    """Raises Unsupported, before anything is on the tape, for a convolution that cuDNN has no way for."""
    shape, out = layer.bottom_blobs[0].shape, layer.top_blobs[0].shape
    group = operation.geometry.group
    whole = all(channels // group % 8 == 0 for channels in (shape[1], out[1]))
    if len(shape) != 4 or len(operation.geometry.kernel) != 2 or (group > 1 and not whole):
        raise Unsupported
    sides = [Value(s, Pinned(None, 0), True) for s in (shape, out)]
    tasks = [Task.FORWARD, Task.DATA] if layer.wants[0] else [Task.FORWARD]
    for task in tasks:
        graph = _graph(compiler, task, sides[0], sides[1], operation)
        if compiler.device.plan(graph, compiler.precision) is None:
            raise Unsupported


def _graph(compiler: Compiler, task: Task, x: Value, y: Value, operation: Convolve) -> Graph:
    (in_h, in_w), (out_h, out_w) = x.shape[2:], y.shape[2:]
    return Graph(
        task=task,
        images=x.shape[0],
        in_channels=x.padded,
        out_channels=y.padded,
        in_extent=(in_h, in_w),
        out_extent=(out_h, out_w),
        geometry=operation.geometry,
        storage=compiler.precision.storage,
        planar=False,
    )


def _forward_in_two(
    compiler: Compiler, layer: ProgramLayer, graph: Graph, x: Value, weights: Place, y: Value
) -> None:
    """The plain convolution, then bias and ReLU by a kernel."""
    operation = layer.operation
    assert isinstance(operation, Convolve)
    plan = compiler.device.plan(graph, compiler.precision)
    if plan is None:
        raise Unsupported
    launch(compiler, "FORWARD", plan, x.place, weights, y.place)
    if len(layer.params) > 1 or operation.rectified:
        bias = bias_of(compiler, layer, y, "fp32")
        sizes = (y.groups, y.padded, int(operation.rectified))
        compiler.kernel("bias_relu", y.groups, y.place, bias, *sizes)


def _choose_gate(compiler: Compiler, layer: ProgramLayer, y: Value) -> None:
    """How the backward pass will know where y was positive, as cheaply as its readers allow."""
    number = layer.tops[0]
    if not layer.runs_backward:
        return
    readers = _readers(compiler, number, layer.index)
    if len(readers) == 1 and is_small_pool(readers[0]):
        gate = Gate(by_pool=True)
    elif compiler.device.fuses_gates or not _only_forward(readers):
        gate = Gate(values=y)
    else:
        bits = compiler.tape.buffer(y.groups)
        compiler.kernel("mask_bits", y.groups, y.place, bits, y.groups)
        gate = Gate(bits=bits)
    compiler.gates[layer.index] = gate


def _readers(compiler: Compiler, number: int, after: int) -> list[ProgramLayer]:
    """The layers that read a blob, through splits; the ReLU in place is no reader."""
    found: list[ProgramLayer] = []
    for layer in compiler.layers[after + 1 :]:
        if number not in layer.bottoms or isinstance(layer.operation, Rectify):
            continue
        if isinstance(layer.operation, Fork):
            parts = [_readers(compiler, top, layer.index) for top in layer.tops]
            found += [reader for part in parts for reader in part]
        else:
            found.append(layer)
    return found


def _only_forward(readers: list[ProgramLayer]) -> bool:
    """Whether no reader needs the values themselves when it runs backward."""
    return all(isinstance(reader.operation, Convolve | Pool | Border) for reader in readers)


def is_small_pool(layer: ProgramLayer) -> bool:
    """Whether a layer is max pooling of 2 x 2 at stride 2 without padding."""
    operation = layer.operation
    if not isinstance(operation, Pool) or operation.window is None or not operation.takes_max:
        return False
    window = operation.window
    return (window.kernel, window.stride, window.pad) == ((2, 2), (2, 2), (0, 0))
