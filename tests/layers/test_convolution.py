"""Convolution, Deconvolution and Im2col against naive loops, and as each other's transposes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.gradient_cases import normal
from support.layer_rig import LayerRig, write
from support.oracles import naive_conv, naive_deconv
from support.strategies import ConvProblem, conv_problems

from nst.backend import Backend, ConvGeometry, get_backend
from nst.core.shapes import deconv_out
from nst.errors import NetError, ShapeError

REFERENCE = get_backend("numpy")


def window(geometry: ConvGeometry) -> str:
    """The geometry as convolution_param text."""
    return (
        f"kernel_size: {list(geometry.kernel)} stride: {list(geometry.stride)} "
        f"pad: {list(geometry.pad)} dilation: {list(geometry.dilation)} group: {geometry.group}"
    )


def rig_of(kind: str, outputs: int, problem: ConvProblem, x: np.ndarray) -> LayerRig:
    text = (
        f'type: "{kind}" convolution_param {{ num_output: {outputs} {window(problem.geometry)} }}'
    )
    rig = LayerRig(REFERENCE, text, [x])
    write(rig.params[0], "data", problem.w)
    return rig


@given(st.integers(1, 3).flatmap(lambda axes: conv_problems(axes=axes)))
def test_convolution_equals_the_naive_loop(problem: ConvProblem) -> None:
    g = problem.geometry
    rig = rig_of("Convolution", len(problem.w), problem, problem.x)
    write(rig.params[1], "data", problem.bias)

    (y,) = rig.forward()

    naive = naive_conv(
        problem.x,
        problem.w,
        problem.bias,
        stride=g.stride,
        pad=g.pad,
        dilation=g.dilation,
        group=g.group,
    )
    np.testing.assert_allclose(y, naive, rtol=1e-10, atol=1e-10)


@given(st.integers(1, 2).flatmap(lambda axes: conv_problems(axes=axes)))
def test_deconvolution_is_the_transpose_of_convolution(problem: ConvProblem) -> None:
    """<conv(x), u> = <x, deconv(u)> for all u and all x of deconv(u)'s size, without biases."""
    outputs = rig_of("Convolution", len(problem.w), problem, problem.x).top[0].shape
    g = problem.geometry
    windows = zip(outputs[2:], g.kernel, g.stride, g.pad, g.dilation, strict=True)
    extent = [deconv_out(*window) for window in windows]
    assume(min(extent) > 0)
    x = problem.x[tuple(slice(0, n) for n in (*problem.x.shape[:2], *extent))]
    u = np.random.default_rng(0).normal(size=outputs)

    (y,) = rig_of("Convolution", len(problem.w), problem, x).forward()
    (v,) = rig_of("Deconvolution", problem.x.shape[1], problem, u).forward()

    assert v.shape == x.shape
    np.testing.assert_allclose(np.vdot(y, u), np.vdot(x, v), atol=1e-9)


@pytest.mark.parametrize(
    ("text", "shape", "sizes"),
    [
        ("kernel_size: 3 stride: 2", (2, 3, 3, 4), ((2, 2), (0, 0), (1, 1))),
        ("kernel_size: 3 pad: 1 dilation: 2", (1, 3, 3, 2), ((1, 1), (1, 1), (2, 2))),
        ("kernel_h: 2 kernel_w: 1 stride_h: 3 stride_w: 1", (1, 3, 2, 2), ((3, 1), (0, 0), (1, 1))),
    ],
)
def test_deconvolution_equals_the_naive_stamp(
    text: str, shape: tuple[int, ...], sizes: tuple[tuple[int, ...], ...], backend: Backend
) -> None:
    x = normal(*shape)
    rig = LayerRig(
        backend, f'type: "Deconvolution" convolution_param {{ num_output: 2 {text} }}', [x]
    )
    w, b = normal(*rig.params[0].shape, seed=1), normal(2, seed=2)
    write(rig.params[0], "data", w)
    write(rig.params[1], "data", b)

    stride, pad, dilation = sizes
    naive = naive_deconv(x, w, b, stride=stride, pad=pad, dilation=dilation)
    np.testing.assert_allclose(rig.forward()[0], naive, atol=1e-12)


def test_convolution_without_spatial_axes_is_a_product_of_channels(backend: Backend) -> None:
    x = normal(4, 3)
    rig = LayerRig(backend, 'type: "Convolution" convolution_param { num_output: 2 }', [x])
    w = normal(2, 3, seed=1)
    write(rig.params[0], "data", w)

    assert rig.params[0].shape == (2, 3)
    np.testing.assert_allclose(rig.forward()[0], x @ w.T)


def test_sobel_equals_two_separable_passes(backend: Backend) -> None:
    x = normal(1, 1, 6, 5)
    full = LayerRig(
        backend, 'type: "Convolution" convolution_param { num_output: 1 kernel_size: 3 }', [x]
    )
    write(full.params[0], "data", np.outer([1, 2, 1], [-1, 0, 1]).reshape(1, 1, 3, 3))
    column = LayerRig(
        backend,
        'type: "Convolution" convolution_param { num_output: 1 kernel_h: 3 kernel_w: 1 }',
        [x],
    )
    write(column.params[0], "data", np.reshape([1, 2, 1], (1, 1, 3, 1)))
    row = LayerRig(
        backend,
        'type: "Convolution" convolution_param { num_output: 1 kernel_h: 1 kernel_w: 3 }',
        column.forward(),
    )
    write(row.params[0], "data", np.reshape([-1, 0, 1], (1, 1, 1, 3)))

    np.testing.assert_allclose(full.forward()[0], row.forward()[0], atol=1e-12)


@given(conv_problems())
def test_im2col_times_the_weights_is_the_convolution(problem: ConvProblem) -> None:
    ungrouped = ConvGeometry(
        problem.geometry.kernel,
        problem.geometry.stride,
        problem.geometry.pad,
        problem.geometry.dilation,
    )
    text = f'type: "Im2col" convolution_param {{ {window(ungrouped)} }}'
    (columns,) = LayerRig(REFERENCE, text, [problem.x]).forward()
    w = normal(2, problem.x.shape[1], *ungrouped.kernel)
    flat = columns.reshape(*columns.shape[:2], -1)

    product = (w.reshape(2, -1) @ flat).reshape(len(problem.x), 2, *columns.shape[2:])

    naive = naive_conv(
        problem.x,
        w,
        None,
        stride=ungrouped.stride,
        pad=ungrouped.pad,
        dilation=ungrouped.dilation,
    )
    np.testing.assert_allclose(product, naive, rtol=1e-10, atol=1e-10)


def test_frozen_weights_get_no_gradient_memory(backend: Backend) -> None:
    rig = LayerRig(
        backend,
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 }',
        [normal(1, 3, 5, 5)],
    )
    rig.layer.params_propagate_down = [False, False]
    rig.forward()

    rig.backward([1.0])

    assert not any(blob.has_diff for blob in rig.params)


@pytest.mark.parametrize(
    ("fields", "wording"),
    [
        ("num_output: 2", r"kernel_size must be specified once.*specified 0 times; 2 spatial"),
        ("num_output: 2 kernel_size: [1, 2, 3]", "specified 3 times; 2 spatial dims"),
        ("num_output: 2 kernel_size: 3 kernel_h: 3", "Either kernel_size or kernel_h/w"),
        ("num_output: 2 kernel_size: 3 pad: 1 pad_h: 1", "Either pad or pad_h/w.*not both"),
        ("num_output: 2 kernel_size: 0", "kernel_size must be positive"),
        ("num_output: 2 kernel_size: 3 stride: 0", "stride must be positive"),
        ("num_output: 3 kernel_size: 3 group: 2", "multiple of group.*3 channels and group 2"),
        ("num_output: 4 kernel_size: 3 group: 3", "Number of output should be multiples of group"),
        ("kernel_size: 3", "num_output must be set"),
    ],
)
def test_a_contradictory_window_is_refused(fields: str, wording: str, backend: Backend) -> None:
    with pytest.raises(NetError, match=f"layer 'layer': .*{wording}"):
        LayerRig(
            backend, f'type: "Convolution" convolution_param {{ {fields} }}', [normal(2, 3, 6, 6)]
        )


def test_a_kernel_larger_than_the_padded_bottom_names_both_sizes(backend: Backend) -> None:
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 9 pad: 1 }'

    with pytest.raises(ShapeError, match=r"layer 'layer': .*\(2, 3, 6, 6\) with kernel \(9, 9\)"):
        LayerRig(backend, text, [normal(2, 3, 6, 6)])


def test_a_changed_channel_count_is_refused_at_reshape(backend: Backend) -> None:
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 }'
    rig = LayerRig(backend, text, [normal(1, 3, 5, 5)])
    rig.bottom[0].reshape(1, 4, 5, 5)

    with pytest.raises(ShapeError, match="Input size incompatible with convolution kernel"):
        rig.forward()


def test_bottoms_of_different_shape_are_refused(backend: Backend) -> None:
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 }'

    with pytest.raises(ShapeError, match="All inputs must have the same shape"):
        LayerRig(backend, text, [normal(1, 3, 5, 5), normal(1, 3, 5, 4)], tops=2)
