"""Products in bf16: the arithmetic itself, how near it stays to fp32, and who has it."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cpu.oracle import REFERENCE, normal, relative_error
from numpy.typing import NDArray

from nst.backend.cpu import CpuBackend
from nst.backend.cpu.convolution import Convolution, Problem
from nst.backend.cpu.library import RELU, why_no_bf16
from nst.backend.geometry import ConvGeometry
from nst.core import RandomSource
from nst.errors import UsageError
from nst.io.prototxt import parse_net
from nst.net import Net

Array = NDArray[np.float64]

GEOMETRY = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
ROUNDING = 3e-2
"""Relative RMS error of a layer against float64: a rounding of 2^-9, enlarged tenfold by F(4x4)."""

# F(4x4, 3x3) at the points 0, +-1, +-2, infinity (Lavin & Gray 2016).
B_T = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
A_T = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def bf16_backend(threads: int) -> CpuBackend:
    backend = CpuBackend(threads)
    missing = why_no_bf16(backend.engine.library)
    if missing:
        pytest.skip(missing)
    return backend.at_precision("bf16")


def rounded(values: Array) -> Array:
    """To bfloat16: eight significant bits, ties to even."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(fraction, 8)), exponent - 8)


def emulated(x: Array, w: Array) -> Array:
    """The padded convolution of one image x (C, H, W) by w (K, C, 3, 3): operands rounded, all else exact."""
    height, width = x.shape[1:]
    rows, columns = -(-height // 4), -(-width // 4)
    padded = np.zeros((x.shape[0], rows * 4 + 2, columns * 4 + 2))
    padded[:, 1 : height + 1, 1 : width + 1] = x
    filters = rounded(np.einsum("ai,kcij,bj->kcab", G, w, G))
    out = np.empty((w.shape[0], rows * 4, columns * 4))
    for row in range(0, rows * 4, 4):
        for column in range(0, columns * 4, 4):
            tile = padded[:, row : row + 6, column : column + 6]
            inputs = rounded(np.einsum("ai,cij,bj->cab", B_T, tile, B_T))
            products = np.einsum("kcab,cab->kab", filters, inputs)
            out[:, row : row + 4, column : column + 4] = A_T @ products @ A_T.T
    return out[:, :height, :width]


def convolved(
    cpu: CpuBackend, x: NDArray[np.float32], w: NDArray[np.float32], *, backward: bool = False
) -> NDArray[np.float32]:
    """The kernel's convolution, or its gradient of the input."""
    extent = x.shape[2:]
    problem = Problem(x.shape[0], w.shape[1], w.shape[0], extent, extent, GEOMETRY)
    run = Convolution(cpu.engine, problem, {}, bf16=True)
    channels = w.shape[1] if backward else w.shape[0]
    source = cpu.engine.blocked(x.shape[0], x.shape[1], extent)
    target = cpu.engine.blocked(x.shape[0], channels, extent)
    cpu.engine.to_blocked(x, source)
    if backward:
        run.backward(source, None, lambda: w, target, 0)
    else:
        run.forward(source, lambda: w, None, target, None, 0)
    out = np.full((x.shape[0], channels, *extent), np.nan, np.float32)
    cpu.engine.to_planar(target, out)
    return out


def test_operands_are_rounded_to_nearest_even_and_nothing_else_is(rng: np.random.Generator) -> None:
    cpu = bf16_backend(2)
    x, w = normal(rng, 1, 40, 9, 14), normal(rng, 24, 40, 3, 3)
    exact = np.empty((1, 24, 9, 14))
    REFERENCE.conv(x.astype(np.float64), w.astype(np.float64), None, GEOMETRY, exact)
    expected = emulated(x[0].astype(np.float64), w.astype(np.float64))
    out = convolved(cpu, x, w)
    # the transforms' own rounding in fp32 moves one operand in some thousands to the next bf16
    assert relative_error(out[0], expected) < 5e-4
    assert relative_error(out, exact) > 5e-3


def test_backward_is_the_same_with_filters_turned_around(rng: np.random.Generator) -> None:
    cpu = bf16_backend(2)
    dy, w = normal(rng, 1, 24, 9, 14), normal(rng, 24, 40, 3, 3)
    turned = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1].astype(np.float64)
    out = convolved(cpu, dy, w, backward=True)
    assert relative_error(out[0], emulated(dy[0].astype(np.float64), turned)) < 5e-4


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    ("images", "channels", "outputs", "extent"),
    [
        (1, 5, 5, (3, 4)),
        (2, 17, 35, (9, 7)),  # blocks that are not full, an odd number of them
        (1, 16, 100, (45, 37)),
        (1, 130, 64, (61, 63)),
        (2, 512, 48, (13, 9)),
    ],
)
def test_layers_stay_within_the_bound_of_float64(
    rng: np.random.Generator,
    images: int,
    channels: int,
    outputs: int,
    extent: tuple[int, int],
    backward: bool,
) -> None:
    x = normal(rng, images, outputs if backward else channels, *extent)
    w = normal(rng, outputs, channels, 3, 3)
    expected = np.empty((images, channels if backward else outputs, *extent))
    operands = x.astype(np.float64), w.astype(np.float64)
    if backward:
        REFERENCE.conv_backward_data(*operands, GEOMETRY, expected)
    else:
        REFERENCE.conv(*operands, None, GEOMETRY, expected)
    assert relative_error(convolved(bf16_backend(2), x, w, backward=backward), expected) < ROUNDING


def test_what_is_not_a_number_stays_so(rng: np.random.Generator) -> None:
    x, w = normal(rng, 1, 16, 8, 8), normal(rng, 16, 16, 3, 3)
    x[0, 3, 4, 4] = np.nan
    assert np.isnan(convolved(bf16_backend(1), x, w)[0, :, 4, 4]).all()


FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"


def _layers(name: str, bottom: str, outputs: int) -> str:
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {FROZEN} convolution_param {{
        num_output: {outputs} kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }}
        bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "r{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}"""


NET = f"""
layer {{ name: "data" type: "Parameter" top: "data"
        parameter_param {{ shape {{ dim: 1 dim: 3 dim: 61 dim: 45 }} filler {{ type: "gaussian" }} }} }}
{_layers("c1", "data", 24)} {_layers("c2", "c1", 32)}
layer {{ name: "p2" type: "Pooling" bottom: "c2" top: "p2" pooling_param {{ kernel_size: 2 stride: 2 }} }}
{_layers("c3", "p2", 48)} {_layers("c4", "c3", 48)}
layer {{ name: "g2" type: "Gram" bottom: "c2" top: "g2" gram_param {{ normalize: HW }} }}
layer {{ name: "g4" type: "Gram" bottom: "c4" top: "g4" gram_param {{ normalize: HW }} }}
layer {{ name: "t" type: "Input" top: "t2" top: "t4" input_param {{
        shape {{ dim: 1 dim: 32 dim: 32 }} shape {{ dim: 1 dim: 48 dim: 48 }} }} }}
layer {{ name: "l2" type: "EuclideanLoss" bottom: "g2" bottom: "t2" top: "l2" }}
layer {{ name: "l4" type: "EuclideanLoss" bottom: "g4" bottom: "t4" top: "l4" }}
"""


def gradient(backend: CpuBackend) -> tuple[float, NDArray[np.float32]]:
    """Loss and gradient of the picture, after two passes."""
    net = Net(parse_net(NET), backend=backend, rng=RandomSource(3))
    net.forward_backward()
    loss = net.forward_backward()
    return loss, np.array(net.blobs["data"].diff)


def test_the_gradient_of_a_net_points_where_that_of_fp32_does() -> None:
    bf16 = bf16_backend(2)
    loss, got = gradient(bf16)
    fp32_loss, expected = gradient(bf16.at_precision("fp32"))
    cosine = np.vdot(got, expected) / (np.linalg.norm(got) * np.linalg.norm(expected))
    assert 0.98 < cosine < 0.999999  # it is bf16 that ran
    assert loss == pytest.approx(fp32_loss, rel=1e-2)


def test_bits_depend_on_neither_threads_nor_the_run() -> None:
    (loss, first), *others = (gradient(bf16_backend(threads)) for threads in (1, 2, 2, 3))
    for other_loss, other in others:
        assert other_loss == loss
        np.testing.assert_array_equal(other, first)


def test_packed_filters_of_both_precisions_live_side_by_side(rng: np.random.Generator) -> None:
    cpu = bf16_backend(1)
    x, w = normal(rng, 1, 16, 8, 8), normal(rng, 16, 16, 3, 3)
    source, target = (cpu.engine.blocked(1, 16, (8, 8)) for _ in range(2))
    cpu.engine.to_blocked(x, source)
    problem, packs = Problem(1, 16, 16, (8, 8), (8, 8), GEOMETRY), {}
    errors = []
    expected = np.empty(x.shape)
    REFERENCE.conv(x.astype(np.float64), w.astype(np.float64), None, GEOMETRY, expected)
    for bf16 in (True, False):
        run = Convolution(cpu.engine, problem, packs, bf16=bf16)
        run.forward(source, lambda: w, None, target, None, RELU)
        out = np.empty(x.shape, np.float32)
        cpu.engine.to_planar(target, out)
        errors.append(relative_error(out, np.maximum(expected, 0)))
    assert errors[0] > 1e-3 > 1e-5 > errors[1]
    assert len(packs) == 2


# ---- who has it -------------------------------------------------------------------------------------


def test_a_processor_without_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = CpuBackend(1)
    monkeypatch.setattr(cpu.engine.library, "nst_has_bf16", lambda: 0)
    monkeypatch.setattr(cpu.engine.library, "nst_lanes", lambda: 16)
    with pytest.raises(UsageError, match=r"^precision: this processor has no bf16 .*use fp32$"):
        cpu.at_precision("bf16")


def test_narrower_kernels_are_refused_by_name(cpu: CpuBackend) -> None:
    if cpu.engine.library.nst_lanes() == 16:
        pytest.skip("these are the kernels that have it")
    with pytest.raises(UsageError, match=rf"the {cpu.engine.isa} kernels have no bf16"):
        cpu.at_precision("bf16")


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_other_precisions_are_refused(precision: str) -> None:
    with pytest.raises(UsageError, match=f"in fp32 or bf16 .got {precision}.*--backend cuda"):
        CpuBackend(1).at_precision(precision)
