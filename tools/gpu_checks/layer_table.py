"""The layer table: which plan of cuDNN is best for each convolution, and how fast it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpu_checks.engine import make_backend, seconds_of
from gpu_checks.stages import Rows, Scale
from gpu_checks.vgg import LAYERS, Layer
from nst.backend.geometry import ConvGeometry

SIZES = (512, 1024, 256, 2048)
GEOMETRY = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))


def layer_table(scale: Scale, rows: Rows) -> None:
    """13 layers, forward (with bias and ReLU) and data gradient (plain, and gated where it is offered)."""
    for size in SIZES[:1] if scale.dry else SIZES:
        for precision in ("fp16", "tf32", "fp32")[: 1 if scale.dry else 3]:
            backend: Any = make_backend(scale, precision)
            for layer in LAYERS[:3] if scale.dry else LAYERS:
                for task, graph in _graphs(layer, scale.size(size), backend.precision.storage):
                    _row(rows, backend, layer, size, precision, task, graph)


def _row(
    rows: Rows, backend: Any, layer: Layer, size: int, precision: str, task: str, graph: Any
) -> None:
    plan = backend.device.plan(graph, backend.precision)
    if plan is None:
        rows.add(size=size, precision=precision, layer=layer.name, task=task, us=None)
        return
    device = backend.device
    operands = [device.upload(_random(graph, name)) for name in graph.task.value]
    launch = plan.bind([device.address(x) for x in operands], device.scratch(plan.workspace))
    seconds = seconds_of(backend, launch, repeats=5)
    rows.add(
        size=size,
        precision=precision,
        layer=layer.name,
        task=task,
        engine=getattr(plan, "engine", -1),
        workspace_mb=plan.workspace / 1e6,
        us=seconds * 1e6,
        tflops=layer.flop(size) / seconds / 1e12,
    )


def _graphs(layer: Layer, size: int, storage: str) -> Iterator[tuple[str, Any]]:
    from nst.backend.cuda.graphs import Graph, Task

    side = layer.side(size)
    inputs = -(-layer.inputs // 8) * 8
    for task in (Task.FORWARD_BIAS_RELU, Task.DATA, Task.DATA_GATED):
        extents = (side, side), (side, side)
        yield (
            task.name.lower(),
            Graph(task, 1, inputs, layer.outputs, *extents, GEOMETRY, storage, planar=False),
        )


def _random(graph: Any, name: str) -> Any:
    """Random bytes that are small numbers in every storage: zeros would draw less power."""
    import numpy as np

    values = np.random.default_rng(0).standard_normal(graph.nbytes(name) // 4, np.float32)
    if graph.storage == "fp16":
        return np.resize(values.astype(np.float16), graph.nbytes(name) // 2)
    if graph.storage == "bf16":
        return np.resize((values.view(np.uint32) >> 16).astype(np.uint16), graph.nbytes(name) // 2)
    return values
