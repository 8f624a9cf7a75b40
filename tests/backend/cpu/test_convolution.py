"""Convolution kernels of the CPU engine, every algorithm in both directions, against float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from backend.cpu.oracle import (
    LAYER_TOLERANCE,
    REFERENCE,
    conv_output_shape,
    normal,
    relative_error,
)

from nst.backend.cpu import CpuBackend
from nst.backend.cpu.convolution import Convolution, Problem
from nst.backend.cpu.engine import Blocked, GateBits, address
from nst.backend.cpu.library import POOLED, RELU
from nst.backend.geometry import ConvGeometry


@dataclass(frozen=True)
class Case:
    images: int
    channels: int
    outputs: int
    extent: tuple[int, int]
    geometry: ConvGeometry


def case(
    images: int,
    channels: int,
    outputs: int,
    extent: tuple[int, int],
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int] = (1, 1),
    pad: tuple[int, int] | None = None,
    dilation: tuple[int, int] = (1, 1),
    group: int = 1,
) -> Case:
    pad = (kernel[0] // 2, kernel[1] // 2) if pad is None else pad
    return Case(
        images, channels, outputs, extent, ConvGeometry(kernel, stride, pad, dilation, group)
    )


RAGGED = [
    case(1, channels, outputs, (13, 9), (3, 3))
    for channels in (1, 3, 5, 17, 100)
    for outputs in (1, 5, 17, 100)
]
EXTENTS = [
    case(1, 17, 20, extent, (3, 3))
    for extent in ((1, 1), (1, 7), (2, 3), (6, 6), (7, 13), (45, 37))
]
GEOMETRIES = [
    case(2, 17, 5, (9, 7), (3, 3)),
    case(1, 512, 64, (7, 9), (3, 3)),  # filters expanded on the fly
    case(2, 64, 512, (14, 9), (3, 3)),
    case(1, 20, 20, (10, 10), (3, 3), pad=(0, 0)),
    case(1, 20, 20, (10, 10), (3, 3), pad=(2, 1)),
    case(1, 20, 20, (10, 10), (3, 3), pad=(3, 3)),  # more padding than Winograd's backward takes
    case(1, 20, 33, (10, 10), (1, 1)),
    case(1, 17, 20, (9, 9), (1, 1), stride=(2, 2)),
    case(2, 3, 96, (37, 45), (7, 7), stride=(2, 2), pad=(0, 0)),
    case(1, 3, 20, (50, 60), (11, 11), stride=(4, 4), pad=(0, 0)),
    case(2, 24, 40, (14, 14), (5, 5)),
    case(1, 24, 40, (14, 14), (5, 5), stride=(2, 2)),
    case(1, 96, 256, (13, 13), (5, 5), group=2),
    case(1, 6, 8, (13, 13), (3, 3), group=2),
    case(1, 40, 40, (13, 13), (3, 3), group=40),
    case(1, 24, 40, (14, 19), (3, 3), dilation=(2, 3), pad=(2, 3)),
    case(1, 24, 40, (14, 19), (1, 7)),
    case(1, 24, 40, (15, 19), (3, 2), stride=(2, 3), pad=(1, 0)),
    case(1, 4, 4, (5, 6), (2, 2), stride=(3, 3), pad=(0, 0)),  # inputs that no window reads
    case(1, 20, 20, (7, 7), (7, 7), pad=(0, 0)),
    case(1, 20, 8, (7, 7), (3, 3), stride=(2, 2), dilation=(2, 2)),
]
LARGE = [
    case(1, 3, 16, (511, 383), (3, 3)),
    case(1, 16, 17, (511, 383), (3, 3)),
    case(2, 100, 90, (63, 61), (3, 3)),  # more tiles than one block of weight gradients holds
    case(1, 100, 90, (45, 41), (5, 5)),
]
CASES = [*RAGGED, *EXTENTS, *GEOMETRIES, *LARGE]


def identify(c: Case) -> str:
    g = c.geometry
    window = f"k{g.kernel}s{g.stride}p{g.pad}d{g.dilation}g{g.group}"
    return f"{c.images}x{c.channels}-{c.outputs}@{c.extent}{window}"


@pytest.mark.parametrize("c", CASES, ids=identify)
def test_forward_is_the_float64_convolution(
    cpu: CpuBackend, rng: np.random.Generator, c: Case
) -> None:
    x, w, bias = _operands(rng, c)
    out = np.full(conv_output_shape(c.images, c.outputs, c.extent, c.geometry), np.nan, np.float32)
    expected = np.empty(out.shape)
    cpu.conv(x, w, bias, c.geometry, out)
    REFERENCE.conv(*(a.astype(np.float64) for a in (x, w, bias)), c.geometry, expected)
    assert relative_error(out, expected) < LAYER_TOLERANCE


@pytest.mark.parametrize("c", CASES, ids=identify)
def test_gradient_of_the_input_is_the_float64_one(
    cpu: CpuBackend, rng: np.random.Generator, c: Case
) -> None:
    x, w, _ = _operands(rng, c)
    dy = normal(rng, *conv_output_shape(c.images, c.outputs, c.extent, c.geometry))
    dx, expected = np.full(x.shape, np.nan, np.float32), np.empty(x.shape)
    cpu.conv_backward_data(dy, w, c.geometry, dx)
    REFERENCE.conv_backward_data(*(a.astype(np.float64) for a in (dy, w)), c.geometry, expected)
    assert relative_error(dx, expected) < LAYER_TOLERANCE


@pytest.mark.parametrize("c", CASES, ids=identify)
def test_gradient_of_the_weights_is_added_to_what_was_there(
    cpu: CpuBackend, rng: np.random.Generator, c: Case
) -> None:
    x, w, _ = _operands(rng, c)
    dy = normal(rng, *conv_output_shape(c.images, c.outputs, c.extent, c.geometry))
    dw = normal(rng, *w.shape)
    expected = dw.astype(np.float64)
    cpu.conv_backward_weights(x, dy, c.geometry, dw)
    REFERENCE.conv_backward_weights(*(a.astype(np.float64) for a in (x, dy)), c.geometry, expected)
    assert relative_error(dw, expected) < LAYER_TOLERANCE


@pytest.mark.parametrize(("channels", "kernel"), [(3, 3), (32, 3), (512, 3), (32, 1)], ids=str)
def test_bias_and_relu_are_fused_into_the_output(
    cpu: CpuBackend, rng: np.random.Generator, channels: int, kernel: int
) -> None:
    c = case(2, channels, 20, (9, 11), (kernel, kernel))
    x, w, _ = _operands(rng, c)
    problem = Problem(2, channels, 20, c.extent, c.extent, c.geometry)
    bias = cpu.engine.array((32,))
    bias[:20] = normal(rng, 20)
    source = cpu.engine.blocked(2, channels, c.extent)
    cpu.engine.to_blocked(x, source)
    target, gate = cpu.engine.blocked(2, 20, c.extent), cpu.engine.gate((2, 20, *c.extent))
    Convolution(cpu.engine, problem, {}).forward(
        x if problem.reads_picture else source, lambda: w, address(bias), target, gate, RELU
    )
    out, expected = np.empty((2, 20, *c.extent), np.float32), np.empty((2, 20, *c.extent))
    cpu.engine.to_planar(target, out)
    REFERENCE.conv(*(a.astype(np.float64) for a in (x, w, bias[:20])), c.geometry, expected)
    assert relative_error(out, np.maximum(expected, 0)) < LAYER_TOLERANCE
    assert not target.array[:, 1, ..., 4:].any()  # the channels that fill up the last block
    np.testing.assert_array_equal(_open(gate, 20), out > 0)


@pytest.mark.parametrize(("channels", "kernel"), [(3, 3), (32, 3), (512, 3), (32, 1)], ids=str)
def test_the_incoming_gradient_passes_through_the_gate(
    cpu: CpuBackend, rng: np.random.Generator, channels: int, kernel: int
) -> None:
    c = case(2, channels, 20, (9, 11), (kernel, kernel))
    _, w, _ = _operands(rng, c)
    problem = Problem(2, channels, 20, c.extent, c.extent, c.geometry)
    activation, dy = normal(rng, 2, 20, *c.extent), normal(rng, 2, 20, *c.extent)
    gradient, values = (cpu.engine.blocked(2, 20, c.extent) for _ in range(2))
    cpu.engine.to_blocked(dy, gradient)
    cpu.engine.to_blocked(activation, values)
    gate = cpu.engine.gate(activation.shape)
    cpu.engine.open_where_positive(values, gate)
    dx = np.full((2, channels, *c.extent), np.nan, np.float32)
    _gated_backward(cpu, Convolution(cpu.engine, problem, {}), gradient, gate, w, dx)
    expected = np.empty(dx.shape)
    REFERENCE.conv_backward_data(
        (dy * (activation > 0)).astype(np.float64), w.astype(np.float64), c.geometry, expected
    )
    assert relative_error(dx, expected) < LAYER_TOLERANCE


def test_the_bias_gradient_is_the_sum_over_images_and_pixels(
    cpu: CpuBackend, rng: np.random.Generator
) -> None:
    dy = normal(rng, 2, 20, 5, 7)
    gradient, source = cpu.engine.blocked(2, 20, (5, 7)), cpu.engine.blocked(2, 16, (5, 7))
    cpu.engine.to_blocked(dy, gradient)
    bias = np.ones(20, np.float32)
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
    problem = Problem(2, 16, 20, (5, 7), (5, 7), geometry)
    Convolution(cpu.engine, problem, {}).weight_gradient(source, gradient, None, bias)
    np.testing.assert_allclose(bias, 1 + dy.sum(axis=(0, 2, 3), dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("extent", [(3, 4), (9, 11), (12, 31), (45, 37)], ids=str)
@pytest.mark.parametrize(("channels", "outputs"), [(17, 20), (512, 16)])
def test_backward_reads_the_gradient_of_a_pooled_half(
    cpu: CpuBackend,
    rng: np.random.Generator,
    channels: int,
    outputs: int,
    extent: tuple[int, int],
) -> None:
    c = case(2, channels, outputs, extent, (3, 3))
    _, w, _ = _operands(rng, c)
    run = Convolution(cpu.engine, Problem(2, channels, outputs, extent, extent, c.geometry), {})
    assert run.reads_pooled
    halves = (-(-extent[0] // 2), -(-extent[1] // 2))
    pooled, open_at = normal(rng, 2, outputs, *halves), rng.random((2, outputs, *extent)) < 0.4
    gradient, gate = cpu.engine.blocked(2, outputs, halves), cpu.engine.gate(open_at.shape)
    cpu.engine.to_blocked(pooled, gradient)
    values = cpu.engine.blocked(2, outputs, extent)
    cpu.engine.to_blocked(np.where(open_at, 1, -1).astype(np.float32), values)
    cpu.engine.open_where_positive(values, gate)
    target = cpu.engine.blocked(2, channels, extent)
    run.backward(gradient, gate, lambda: w, target, POOLED)
    dx, expected = np.empty((2, channels, *extent), np.float32), np.empty((2, channels, *extent))
    cpu.engine.to_planar(target, dx)
    spread = pooled.repeat(2, axis=2).repeat(2, axis=3)[..., : extent[0], : extent[1]] * open_at
    REFERENCE.conv_backward_data(
        spread.astype(np.float64), w.astype(np.float64), c.geometry, expected
    )
    assert relative_error(dx, expected) < LAYER_TOLERANCE


def _open(gate: GateBits, channels: int) -> np.ndarray:
    """The bits as an array (N, C, H, W) of booleans."""
    images, blocks, height, width = gate.array.shape
    bits = gate.array[..., None] >> np.arange(16, dtype=np.uint16) & 1
    return (
        bits.transpose(0, 1, 4, 2, 3).reshape(images, blocks * 16, height, width)[:, :channels] > 0
    )


def _gated_backward(
    cpu: CpuBackend,
    convolution: Convolution,
    gradient: Blocked,
    gate: GateBits,
    w: np.ndarray,
    dx: np.ndarray,
) -> None:
    """Runs the backward pass into planar dx, whichever layout the kernel writes."""
    if convolution.problem.reads_picture:
        convolution.backward(gradient, gate, lambda: w, dx, 0)
    else:
        target = cpu.engine.blocked(dx.shape[0], dx.shape[1], dx.shape[2:])
        convolution.backward(gradient, gate, lambda: w, target, 0)
        cpu.engine.to_planar(target, dx)


def _operands(rng: np.random.Generator, c: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = normal(rng, c.images, c.channels, *c.extent)
    w = normal(rng, c.outputs, c.channels // c.geometry.group, *c.geometry.kernel)
    return x, w, normal(rng, c.outputs)
