"""A convolution, its gradients and what is fused to them, as graphs of cuDNN operations.

`Graph` is a plain record: what is computed, on which sizes, in which storage and layout. `build` turns it
into a finalised operation graph. Operands have names, in the order in which a plan wants their addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from nst.backend.cuda.cudnn import Cudnn, Node
from nst.backend.cuda.numbers import (
    CROSS_CORRELATION,
    Attribute,
    DataType,
    Descriptor,
    Kind,
    Pointwise,
)
from nst.backend.geometry import ConvGeometry

DATA_TYPES = {
    "fp32": DataType.FLOAT,
    "fp64": DataType.DOUBLE,
    "fp16": DataType.HALF,
    "bf16": DataType.BFLOAT16,
}
"""cuDNN's name of each storage."""

ITEM_BYTES = {"fp32": 4, "fp64": 8, "fp16": 2, "bf16": 2}

ALIGNMENT = 16
"""Bytes that every operand's address is a multiple of."""


class Task(Enum):
    """What a graph computes, and its operands in order."""

    FORWARD = ("x", "w", "y")
    FORWARD_BIAS = ("x", "w", "bias", "y")
    FORWARD_BIAS_RELU = ("x", "w", "bias", "rectified")
    DATA = ("dy", "w", "dx")
    """The gradient of the input."""
    DATA_GATED = ("dy", "w", "gate", "dx")
    """... set to zero where `gate`, the rectified values before the convolution, is not positive."""
    WEIGHTS = ("x", "dy", "dw")


@dataclass(frozen=True)
class Graph:
    """One task on one set of sizes. Channels are those in memory, padding included."""

    task: Task
    images: int
    in_channels: int
    out_channels: int
    in_extent: tuple[int, int]
    out_extent: tuple[int, int]
    geometry: ConvGeometry
    storage: str
    """fp32, fp64, fp16 or bf16; sums are fp32 (fp64 for fp64)."""
    planar: bool
    """(N, C, H, W) and (K, C, R, S) in memory, or (N, H, W, C) and (K, R, S, C)."""

    def shape(self, operand: str) -> tuple[int, int, int, int]:
        """Sizes in the order that cuDNN always wants: N, C, H, W or K, C, R, S."""
        if operand in ("x", "dx", "gate"):
            return self.images, self.in_channels, *self.in_extent
        if operand in ("w", "dw"):
            kernel = self.geometry.kernel
            per_group = self.in_channels // self.geometry.group
            return self.out_channels, per_group, kernel[0], kernel[1]
        if operand == "bias":
            return 1, self.out_channels, 1, 1
        return self.images, self.out_channels, *self.out_extent

    def nbytes(self, operand: str) -> int:
        """Bytes of an operand in memory."""
        n, c, h, w = self.shape(operand)
        return n * c * h * w * ITEM_BYTES[self.storage]

    def strides(self, operand: str) -> tuple[int, int, int, int]:
        """Elements between neighbours along the axes of `shape`."""
        _, c, h, w = self.shape(operand)
        return (c * h * w, h * w, w, 1) if self.planar else (c * h * w, 1, w * c, c)


def build(cudnn: Cudnn, graph: Graph) -> Node:
    """The finalised operation graph. Raises CudnnError where cuDNN refuses it."""
    builder = _Builder(cudnn, graph)
    operations = {
        Task.FORWARD: builder.forward,
        Task.FORWARD_BIAS: lambda: builder.forward_bias(builder.tensor("y")),
        Task.FORWARD_BIAS_RELU: builder.forward_bias_relu,
        Task.DATA: builder.data,
        Task.DATA_GATED: builder.data_gated,
        Task.WEIGHTS: builder.weights,
    }[graph.task]()
    node = cudnn.node(Descriptor.OPERATIONGRAPH)
    node.set(Attribute.OPERATIONGRAPH_OPS, Kind.BACKEND_DESCRIPTOR, operations)
    if cudnn.handle is not None:
        node.set(Attribute.OPERATIONGRAPH_HANDLE, Kind.HANDLE, cudnn.handle)
    return node.finalize()


def operand_id(task: Task, operand: str) -> int:
    """The unique number of an operand within its graph."""
    names: tuple[str, ...] = task.value
    return 1 + names.index(operand)


class _Builder:
    """Tensors and operations of one graph."""

    def __init__(self, cudnn: Cudnn, graph: Graph) -> None:
        self.cudnn, self.graph = cudnn, graph
        is_double = graph.storage == "fp64"
        self.compute = DataType.DOUBLE if is_double else DataType.FLOAT
        self._virtual = len(graph.task.value)

    def forward(self) -> list[Node]:
        return [self._convolve("FORWARD", "FORWARD", X="x", W="w", Y="y")]

    def forward_bias_relu(self) -> list[Node]:
        total, result = self._virtual_like("y"), self.tensor("rectified")
        relu = self._pointwise(Pointwise.RELU_FWD, XDESC=total, YDESC=result)
        return [*self.forward_bias(total), relu]

    def forward_bias(self, total: Node) -> list[Node]:
        product = self._virtual_like("y")
        convolve = self._convolve("FORWARD", "FORWARD", X="x", W="w", Y=product)
        add = self._pointwise(Pointwise.ADD, XDESC=product, BDESC=self.tensor("bias"), YDESC=total)
        return [convolve, add]

    def data(self) -> list[Node]:
        return [self._convolve("BACKWARD_DATA", "BWD_DATA", DY="dy", W="w", DX="dx")]

    def data_gated(self) -> list[Node]:
        gradient = self._virtual_like("dx")
        convolve = self._convolve("BACKWARD_DATA", "BWD_DATA", DY="dy", W="w", DX=gradient)
        gate, result = self.tensor("gate"), self.tensor("dx")
        mask = self._pointwise(Pointwise.RELU_BWD, XDESC=gate, DYDESC=gradient, DXDESC=result)
        return [convolve, mask]

    def weights(self) -> list[Node]:
        return [self._convolve("BACKWARD_FILTER", "BWD_FILTER", X="x", DY="dy", DW="dw")]

    # ---- pieces ------------------------------------------------------------------------------------

    def tensor(self, operand: str) -> Node:
        """A tensor in memory."""
        graph = self.graph
        number = operand_id(graph.task, operand)
        return self._describe(operand, number, DATA_TYPES[graph.storage]).finalize()

    def _virtual_like(self, operand: str) -> Node:
        """A value between two operations, which never is in memory."""
        self._virtual += 1
        node = self._describe(operand, self._virtual, self.compute)
        return node.set(Attribute.TENSOR_IS_VIRTUAL, Kind.BOOLEAN, True).finalize()

    def _describe(self, operand: str, number: int, data_type: DataType) -> Node:
        shape, strides = self.graph.shape(operand), self.graph.strides(operand)
        if operand == "bias":
            strides = (shape[1], 1, shape[1], shape[1])
        node = self.cudnn.node(Descriptor.TENSOR)
        node.set(Attribute.TENSOR_UNIQUE_ID, Kind.INT64, number)
        node.set(Attribute.TENSOR_DATA_TYPE, Kind.DATA_TYPE, data_type)
        node.set(Attribute.TENSOR_BYTE_ALIGNMENT, Kind.INT64, ALIGNMENT)
        node.set(Attribute.TENSOR_DIMENSIONS, Kind.INT64, shape)
        return node.set(Attribute.TENSOR_STRIDES, Kind.INT64, strides)

    def _convolve(self, descriptor: str, prefix: str, **tensors: str | Node) -> Node:
        """One of the three convolution operations; its tensors by cuDNN's names."""
        node = self.cudnn.node(Descriptor[f"OPERATION_CONVOLUTION_{descriptor}"])
        prefix = f"OPERATION_CONVOLUTION_{prefix}"
        for name, tensor in tensors.items():
            part = self.tensor(tensor) if isinstance(tensor, str) else tensor
            node.set(Attribute[f"{prefix}_{name}"], Kind.BACKEND_DESCRIPTOR, part)
        window = self._window()
        node.set(Attribute[f"{prefix}_CONV_DESC"], Kind.BACKEND_DESCRIPTOR, window)
        scalar = Kind.DOUBLE if self.graph.storage == "fp64" else Kind.FLOAT
        node.set(Attribute[f"{prefix}_ALPHA"], scalar, 1.0)
        return node.set(Attribute[f"{prefix}_BETA"], scalar, 0.0).finalize()

    def _window(self) -> Node:
        geometry = self.graph.geometry
        node = self.cudnn.node(Descriptor.CONVOLUTION)
        node.set(Attribute.CONVOLUTION_SPATIAL_DIMS, Kind.INT64, 2)
        node.set(Attribute.CONVOLUTION_COMP_TYPE, Kind.DATA_TYPE, self.compute)
        node.set(Attribute.CONVOLUTION_CONV_MODE, Kind.CONVOLUTION_MODE, CROSS_CORRELATION)
        node.set(Attribute.CONVOLUTION_PRE_PADDINGS, Kind.INT64, geometry.pad)
        node.set(Attribute.CONVOLUTION_POST_PADDINGS, Kind.INT64, geometry.pad)
        node.set(Attribute.CONVOLUTION_DILATIONS, Kind.INT64, geometry.dilation)
        return node.set(
            Attribute.CONVOLUTION_FILTER_STRIDES, Kind.INT64, geometry.stride
        ).finalize()

    def _pointwise(self, mode: Pointwise, **tensors: Node) -> Node:
        rule = self.cudnn.node(Descriptor.POINTWISE)
        rule.set(Attribute.POINTWISE_MODE, Kind.POINTWISE_MODE, mode)
        rule.set(Attribute.POINTWISE_MATH_PREC, Kind.DATA_TYPE, self.compute).finalize()
        node = self.cudnn.node(Descriptor.OPERATION_POINTWISE)
        node.set(Attribute.OPERATION_POINTWISE_PW_DESCRIPTOR, Kind.BACKEND_DESCRIPTOR, rule)
        for name, tensor in tensors.items():
            node.set(Attribute[f"OPERATION_POINTWISE_{name}"], Kind.BACKEND_DESCRIPTOR, tensor)
        return node.finalize()
