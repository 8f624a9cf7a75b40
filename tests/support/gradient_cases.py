"""What is gradient-checked, per layer type: at least one case has every parameter off its default.

Values are random but fixed, and kept off kinks by far more than the step of the check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from support.gradcheck import off_kinks

from nst.core import TRAIN

Values = NDArray[Any]


@dataclass(frozen=True)
class GradientCase:
    """One layer, its bottoms, and options of `check_gradients`."""

    name: str
    text: str
    bottoms: tuple[Values, ...]
    options: dict[str, Any] = field(default_factory=dict)


def normal(*shape: int, seed: int = 0) -> Values:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def distinct(*shape: int, seed: int = 0) -> Values:
    """Values that differ by at least 0.1 from each other, in random order: no ties for maxima."""
    count = int(np.prod(shape))
    return np.random.default_rng([seed, *shape]).permutation(count).reshape(shape) * 0.1 - 1.23


def positive(*shape: int, seed: int = 0) -> Values:
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2.0, shape)


def soft_mask(*shape: int, seed: int = 0) -> Values:
    """Weights from 0 to 1 of which about a quarter are 0."""
    return np.random.default_rng([seed, *shape]).uniform(-0.3, 1.0, shape).clip(0, None)


def frames(*shape: int) -> tuple[Values, Values, Values]:
    """A frame, the warped frame before, and weights from 0 to 1, some of them 0."""
    return normal(*shape), normal(*shape, seed=1), soft_mask(shape[0], 1, *shape[2:])


def raw_moments(features: Values, *, diagonal: bool = False) -> Values:
    """What Moments makes of (N, C, K), by another way."""
    second = np.einsum("nck,ndk->ncd", features, features) / features.shape[2]
    if diagonal:
        second = np.einsum("ncc->nc", second)[:, :, None]
    return np.concatenate([features.mean(axis=2, keepdims=True), second], axis=2)


def case(name: str, text: str, *bottoms: ArrayLike, **options: Any) -> GradientCase:
    return GradientCase(name, text, tuple(np.asarray(x) for x in bottoms), options)


CASES: dict[str, list[GradientCase]] = {
    "AbsVal": [case("default", 'type: "AbsVal"', off_kinks(normal(3, 4)))],
    "BNLL": [
        case("default", 'type: "BNLL"', 3 * normal(3, 4)),
        case("in place", 'type: "BNLL"', 3 * normal(3, 4), in_place=True),
    ],
    "BatchNorm": [
        case(
            "batch statistics",
            'type: "BatchNorm" batch_norm_param { eps: 0.01 moving_average_fraction: 0.9 }',
            normal(3, 2, 2, 2),
            phase=TRAIN,
            wrt_params=[],
        ),
        case(
            "batch statistics in place",
            'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
            normal(4, 3),
            in_place=True,
            wrt_params=[],
        ),
        case(
            "stored statistics",
            'type: "BatchNorm"',
            normal(3, 2, 2),
            wrt_params=[],
            params=[normal(2), positive(2), positive(1)],
        ),
        case(
            "one axis",
            'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
            normal(6),
            wrt_params=[],
        ),
    ],
    "BatchReindex": [
        case("repeats", 'type: "BatchReindex"', normal(4, 3), [2.0, 0, 2, 3, 2], wrt=[0]),
    ],
    "Bias": [
        case("learned", 'type: "Bias"', normal(2, 3, 2)),
        case(
            "learned over two axes, in place",
            'type: "Bias" bias_param { axis: 0 num_axes: 2 }',
            normal(2, 3, 2),
            in_place=True,
        ),
        case(
            "second bottom",
            'type: "Bias" bias_param { axis: -2 }',
            normal(2, 3, 2),
            normal(3, 2, seed=1),
        ),
        case("scalar bottom", 'type: "Bias"', normal(2, 3), normal()),
    ],
    "Clip": [
        case(
            "default",
            'type: "Clip" clip_param { min: -0.5 max: 0.7 }',
            off_kinks(normal(4, 5), (-0.5, 0.7)),
        ),
        case(
            "in place",
            'type: "Clip" clip_param { min: -0.5 max: 0.7 }',
            off_kinks(normal(4, 5), (-0.5, 0.7)),
            in_place=True,
        ),
    ],
    "Concat": [
        case("default", 'type: "Concat"', normal(2, 3, 2), normal(2, 1, 2), normal(2, 2, 2)),
        case(
            "last axis",
            'type: "Concat" concat_param { axis: -1 }',
            normal(2, 3, 2),
            normal(2, 3, 4),
        ),
    ],
    "ContrastiveLoss": [
        case(
            "margin",
            'type: "ContrastiveLoss" contrastive_loss_param { margin: 3 }',
            normal(4, 3),
            normal(4, 3, seed=1),
            [1.0, 0, 1, 0],
            wrt=[0, 1],
            tolerance=2e-4,
        ),
        case(
            "legacy",
            'type: "ContrastiveLoss" contrastive_loss_param { margin: 5 legacy_version: true }',
            normal(4, 3),
            normal(4, 3, seed=1),
            [1.0, 0, 1, 0],
            wrt=[0, 1],
        ),
    ],
    "Convolution": [
        case(
            "padded, strided, dilated, grouped",
            'type: "Convolution" convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 '
            "stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2 dilation: 2 group: 2 }",
            normal(2, 2, 7, 5),
        ),
        case(
            "two bottoms without bias",
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 bias_term: false }',
            normal(1, 3, 4, 5),
            normal(1, 3, 4, 5, seed=1),
            tops=2,
        ),
        case(
            "one spatial axis",
            'type: "Convolution" convolution_param { num_output: 3 kernel_size: 3 pad: 1 axis: 2 }',
            normal(2, 2, 2, 6),
        ),
        case(
            "three spatial axes",
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: [2, 1, 3] '
            "stride: [1, 2, 1] pad: [0, 1, 1] }",
            normal(1, 2, 3, 4, 3),
        ),
    ],
    "Crop": [
        case("default", 'type: "Crop"', normal(2, 2, 4, 5), normal(9, 9, 2, 3)),
        case(
            "offsets",
            'type: "Crop" crop_param { axis: 1 offset: 1 offset: 2 }',
            normal(2, 3, 4),
            normal(2, 2, 1),
        ),
    ],
    "Deconvolution": [
        case(
            "padded, strided, dilated, grouped",
            'type: "Deconvolution" convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 '
            "stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0 dilation: 2 group: 2 }",
            normal(2, 2, 3, 4),
        ),
        case(
            "one spatial axis, no bias",
            'type: "Deconvolution" convolution_param { num_output: 2 '
            "kernel_size: 3 stride: 2 bias_term: false }",
            normal(2, 3, 4),
        ),
        case(
            "no spatial axes",
            'type: "Deconvolution" convolution_param { num_output: 2 }',
            normal(3, 4),
        ),
    ],
    "Dropout": [
        case(
            "train",
            'type: "Dropout" dropout_param { dropout_ratio: 0.3 }',
            normal(4, 5),
            phase=TRAIN,
        ),
        case(
            "train, in place",
            'type: "Dropout" dropout_param { dropout_ratio: 0.7 }',
            normal(4, 5),
            phase=TRAIN,
            in_place=True,
        ),
        case("test", 'type: "Dropout"', normal(4, 5)),
    ],
    "ELU": [
        case("default", 'type: "ELU"', off_kinks(normal(3, 4))),
        case(
            "alpha, in place",
            'type: "ELU" elu_param { alpha: -0.3 }',
            off_kinks(normal(3, 4)),
            in_place=True,
        ),
    ],
    "Eltwise": [
        case(
            "sum",
            'type: "Eltwise" eltwise_param { coeff: [2, -0.5, 1] }',
            normal(2, 3),
            normal(2, 3, seed=1),
            normal(2, 3, seed=2),
        ),
        case(
            "product with zeros",
            'type: "Eltwise" eltwise_param { operation: PROD }',
            np.array([[0.0, 1.0, 2.0]]),
            np.array([[3.0, 0.0, -1.0]]),
            normal(1, 3),
        ),
        case(
            "product by division",
            'type: "Eltwise" eltwise_param { operation: PROD stable_prod_grad: false }',
            positive(2, 3),
            positive(2, 3, seed=1),
        ),
        case("maximum", 'type: "Eltwise" eltwise_param { operation: MAX }', *distinct(3, 4, 5)),
    ],
    "Embed": [
        case(
            "default",
            'type: "Embed" embed_param { num_output: 3 input_dim: 4 }',
            [[0.0, 3], [2, 2]],
            wrt=[],
        ),
        case(
            "no bias",
            'type: "Embed" embed_param { num_output: 3 input_dim: 4 bias_term: false }',
            [1.0, 1, 0],
            wrt=[],
        ),
    ],
    "EuclideanLoss": [
        case("same shape", 'type: "EuclideanLoss"', normal(3, 4), normal(3, 4, seed=1)),
        case("same count", 'type: "EuclideanLoss"', normal(3, 4), normal(3, 2, 2, seed=1)),
    ],
    "Event": [
        case(
            "no gate",
            'type: "Event" event_param { gate: NONE }',
            normal(2, 3, 4),
            normal(2, 3, 4, seed=1),
            wrt=[0],
        ),
    ],
    "Exp": [
        case("default", 'type: "Exp"', normal(3, 4)),
        case(
            "base 2, in place",
            'type: "Exp" exp_param { base: 2 scale: -0.5 shift: 1.5 }',
            normal(3, 4),
            in_place=True,
        ),
    ],
    "Filter": [
        case(
            "two bottoms",
            'type: "Filter"',
            normal(4, 3),
            normal(4, 2, seed=1),
            [[1.0], [0], [1], [1]],
            tops=2,
            wrt=[0, 1],
        ),
    ],
    "Flatten": [
        case("default", 'type: "Flatten"', normal(2, 3, 2)),
        case("axes", 'type: "Flatten" flatten_param { axis: 0 end_axis: -2 }', normal(2, 3, 2)),
    ],
    "Gram": [
        case("default", 'type: "Gram"', normal(2, 3, 2, 4)),
        case(
            "scaled",
            'type: "Gram" gram_param { axis: -1 alpha: 0.5 beta: 3 normalize: HW }',
            normal(2, 2, 3, 4),
        ),
        case(
            "normalized by CHW",
            'type: "Gram" gram_param { alpha: 2 normalize: CHW }',
            normal(1, 3, 2, 2),
        ),
        case(
            "soft mask",
            'type: "Gram" gram_param { alpha: 0.7 normalize: HW }',
            normal(2, 3, 2, 4),
            soft_mask(1, 1, 2, 4),
            wrt=[0],
        ),
        case(
            "a mask per item, one empty, last axis",
            'type: "Gram" gram_param { axis: -1 beta: 3 normalize: CHW }',
            normal(2, 2, 3, 4),
            soft_mask(2, 2, 1, 4) * np.array([1, 0, 1, 1]).reshape(2, 2, 1, 1),
            wrt=[0],
        ),
        case(
            "mask, not normalized",
            'type: "Gram" gram_param { alpha: 2 }',
            normal(1, 3, 2, 4),
            soft_mask(1, 1, 2, 4),
            wrt=[0],
        ),
    ],
    "HingeLoss": [
        case("L1", 'type: "HingeLoss"', off_kinks(normal(4, 3), (-1, 1)), [0.0, 2, 1, 2], wrt=[0]),
        case(
            "L2",
            'type: "HingeLoss" hinge_loss_param { norm: L2 }',
            off_kinks(normal(4, 3), (-1, 1)),
            [0.0, 2, 1, 2],
            wrt=[0],
        ),
    ],
    "HistogramLoss": [
        case("same places", 'type: "HistogramLoss"', distinct(2, 3, 4), normal(2, 3, 4), wrt=[0]),
        case("fewer", 'type: "HistogramLoss"', distinct(1, 2, 3, 3), normal(1, 2, 4), wrt=[0]),
        case(
            "relative",
            'type: "HistogramLoss" histogram_loss_param { relative: true }',
            distinct(2, 3, 4),
            normal(2, 3, 5),
            wrt=[0],
        ),
    ],
    "Im2col": [
        case(
            "two axes",
            'type: "Im2col" convolution_param { kernel_h: 3 kernel_w: 2 stride: 2 '
            "pad: 1 dilation: 2 }",
            normal(2, 2, 6, 5),
        ),
        case(
            "one axis",
            'type: "Im2col" convolution_param { kernel_size: 3 axis: 2 }',
            normal(2, 1, 2, 5),
        ),
    ],
    "InfogainLoss": [
        case(
            "third bottom",
            'type: "InfogainLoss"',
            normal(4, 3),
            [0.0, 2, 1, 2],
            normal(1, 1, 3, 3, seed=1),
            wrt=[0],
        ),
        case(
            "ignored, last axis, two tops",
            'type: "InfogainLoss" infogain_loss_param { axis: -1 } '
            "loss_param { ignore_label: 1 normalization: FULL }",
            normal(2, 2, 3),
            [0.0, 2, 1, 2],
            normal(3, 3, seed=1),
            wrt=[0],
            tops=2,
            unused_tops=[1],
        ),
    ],
    "InnerProduct": [
        case(
            "default axis",
            'type: "InnerProduct" inner_product_param { num_output: 3 }',
            normal(4, 2, 3),
        ),
        case(
            "transposed, late axis, no bias",
            'type: "InnerProduct" inner_product_param { num_output: 3 axis: -1 transpose: true '
            "bias_term: false }",
            normal(2, 3, 4),
        ),
        case(
            "axis 0",
            'type: "InnerProduct" inner_product_param { num_output: 2 axis: 0 }',
            normal(3, 4),
        ),
    ],
    "LRN": [
        case(
            "across channels",
            'type: "LRN" lrn_param { local_size: 3 alpha: 0.7 beta: 0.6 k: 1.5 }',
            normal(2, 5, 2, 3),
        ),
        case(
            "within channel",
            'type: "LRN" lrn_param { local_size: 3 alpha: 0.7 beta: 0.6 '
            "norm_region: WITHIN_CHANNEL }",
            normal(2, 2, 4, 3),
        ),
        case(
            "window wider than the channels",
            'type: "LRN" lrn_param { local_size: 5 }',
            normal(1, 3, 2, 2),
        ),
    ],
    "LSTM": [
        case(
            "default",
            'type: "LSTM" recurrent_param { num_output: 3 }',
            normal(3, 2, 4),
            [[0.0, 0], [1, 0], [1, 1]],
            wrt=[0],
            fresh=True,
        ),
        case(
            "static input",
            'type: "LSTM" recurrent_param { num_output: 2 }',
            normal(3, 2, 2, 2),
            [[0.0, 0], [1, 0], [1, 1]],
            normal(2, 3),
            wrt=[0, 2],
            fresh=True,
        ),
        case(
            "exposed",
            'type: "LSTM" recurrent_param { num_output: 2 expose_hidden: true }',
            normal(3, 2, 4),
            np.ones((3, 2)),
            normal(1, 2, 2),
            normal(1, 2, 2, seed=1),
            tops=3,
            wrt=[0],
            unused_tops=[1, 2],
        ),
    ],
    "LSTMUnit": [
        case(
            "default",
            'type: "LSTMUnit"',
            normal(1, 3, 2),
            normal(1, 3, 8),
            [[1.0, 0, 1]],
            tops=2,
            wrt=[0, 1],
        ),
    ],
    "Log": [
        case("default", 'type: "Log"', positive(3, 4)),
        case(
            "base 2, in place",
            'type: "Log" log_param { base: 2 scale: 3 shift: 0.5 }',
            positive(3, 4),
            in_place=True,
        ),
    ],
    "MMDLoss": [
        case("linear", 'type: "MMDLoss"', normal(2, 3, 5), normal(2, 3, 2, 2), wrt=[0]),
        case(
            "polynomial",
            'type: "MMDLoss" mmd_loss_param { kernel: POLYNOMIAL offset: 0.7 }',
            normal(2, 3, 5),
            normal(2, 3, 4, seed=1),
            wrt=[0],
        ),
        case(
            "gaussian, its own bandwidth",
            'type: "MMDLoss" mmd_loss_param { kernel: GAUSSIAN }',
            normal(2, 3, 5),
            normal(2, 3, 4, seed=1),
            wrt=[0],
        ),
        case(
            "gaussian, given bandwidth",
            'type: "MMDLoss" mmd_loss_param { kernel: GAUSSIAN bandwidth: 2.5 }',
            normal(1, 3, 2, 3),
            normal(1, 3, 4, seed=1),
            wrt=[0],
        ),
    ],
    "MRFLoss": [
        case("default", 'type: "MRFLoss"', normal(1, 2, 4, 5), normal(1, 2, 5, 4), wrt=[0]),
        case(
            "larger steps of smaller patches",
            'type: "MRFLoss" mrf_loss_param { patch: 2 stride: 2 }',
            normal(2, 3, 5, 4),
            normal(2, 3, 3, 4),
            wrt=[0],
        ),
        case(
            "relative",
            'type: "MRFLoss" mrf_loss_param { patch: 2 relative: true }',
            normal(2, 2, 4, 5),
            normal(2, 2, 5, 4),
            wrt=[0],
        ),
    ],
    "MVN": [
        case("per channel", 'type: "MVN"', normal(2, 3, 2, 3)),
        case(
            "across channels, in place",
            'type: "MVN" mvn_param { across_channels: true }',
            normal(2, 3, 4),
            in_place=True,
        ),
        case("mean only", 'type: "MVN" mvn_param { normalize_variance: false }', normal(2, 3, 4)),
    ],
    "Mask": [
        case("of each item", 'type: "Mask"', normal(2, 3, 2, 4), normal(2, 1, 2, 4)),
        case("shared", 'type: "Mask"', normal(2, 3, 2, 4), soft_mask(1, 1, 2, 4)),
    ],
    "Moments": [
        case("default", 'type: "Moments"', normal(2, 3, 2, 4)),
        case(
            "full, scaled means, last axis",
            'type: "Moments" moments_param { axis: -1 mean_scale: -1.7 }',
            normal(2, 2, 3, 4),
        ),
        case(
            "diagonal",
            'type: "Moments" moments_param { second: DIAGONAL mean_scale: 0.5 }',
            normal(2, 3, 2, 4),
        ),
        case("means", 'type: "Moments" moments_param { second: NONE }', normal(2, 3, 4)),
        *(
            case(
                f"{second}, soft mask",
                f'type: "Moments" moments_param {{ second: {second} mean_scale: 0.6 }}',
                normal(2, 3, 2, 4),
                soft_mask(2, 1, 2, 4),
                wrt=[0],
            )
            for second in ("FULL", "DIAGONAL", "NONE")
        ),
    ],
    "MomentsLoss": [
        case(
            "default",
            'type: "MomentsLoss"',
            raw_moments(normal(2, 4, 9), diagonal=True),
            raw_moments(2 * normal(2, 4, 9, seed=1), diagonal=True),
            wrt=[0],
        ),
        case(
            "relative",
            'type: "MomentsLoss" moments_loss_param { epsilon: 0.03 relative: true }',
            raw_moments(normal(2, 4, 9), diagonal=True),
            raw_moments(2 * normal(2, 4, 9, seed=1), diagonal=True),
            wrt=[0],
        ),
    ],
    "MultinomialLogisticLoss": [
        case("default", 'type: "MultinomialLogisticLoss"', positive(4, 3), [0.0, 2, 1, 2], wrt=[0]),
    ],
    "PReLU": [
        case("per channel", 'type: "PReLU"', off_kinks(normal(2, 3, 2))),
        case(
            "shared, in place",
            'type: "PReLU" prelu_param { channel_shared: true }',
            off_kinks(normal(2, 3, 2)),
            in_place=True,
        ),
    ],
    "Pad": [
        case(
            "edge",
            'type: "Pad" pad_param { pad_h: 3 pad_w: 1 }',
            normal(2, 2, 2, 3),
        ),
        case(
            "mirror",
            'type: "Pad" pad_param { pad_h: 1 pad_w: 2 mode: REFLECT }',
            normal(1, 2, 2, 3),
        ),
        case(
            "mirror there and back",
            'type: "Pad" pad_param { pad_h: 2 pad_w: 5 mode: REFLECT }',
            normal(1, 2, 1, 3),
        ),
        case("zeros", 'type: "Pad" pad_param { pad_w: 2 mode: ZERO }', normal(1, 2, 2, 3)),
        case(
            "round the map",
            'type: "Pad" pad_param { pad_h: 2 pad_w: 1 mode: CIRCULAR }',
            normal(1, 2, 2, 3),
        ),
    ],
    "Pooling": [
        case(
            "max",
            'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }',
            distinct(2, 2, 6, 5),
        ),
        case(
            "padded max of rectangles",
            'type: "Pooling" pooling_param { kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 '
            "pad_h: 1 pad_w: 1 }",
            distinct(1, 2, 4, 5),
        ),
        case(
            "mean, rounded down",
            'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 '
            "round_mode: FLOOR }",
            normal(1, 2, 6, 5),
        ),
        case(
            "global mean",
            'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
            normal(2, 3, 3, 4),
        ),
    ],
    "Power": [
        case("default", 'type: "Power"', normal(3, 4)),
        case(
            "scaled and shifted, in place",
            'type: "Power" power_param { power: 2.5 scale: 0.7 shift: 1 }',
            positive(3, 4),
            in_place=True,
        ),
        case("linear", 'type: "Power" power_param { scale: -3 shift: 1 }', normal(3, 4)),
        case("constant", 'type: "Power" power_param { power: 3 scale: 0 shift: 2 }', normal(3, 4)),
        case(
            "cube through zero",
            'type: "Power" power_param { power: 3 }',
            np.array([-1.0, 0.0, 2.0]),
        ),
    ],
    "RNN": [
        case(
            "default",
            'type: "RNN" recurrent_param { num_output: 3 }',
            normal(3, 2, 4),
            [[0.0, 0], [1, 0], [1, 1]],
            wrt=[0],
            fresh=True,
        ),
        case(
            "static input",
            'type: "RNN" recurrent_param { num_output: 2 }',
            normal(3, 2, 2, 2),
            [[0.0, 0], [1, 0], [1, 1]],
            normal(2, 3),
            wrt=[0, 2],
            fresh=True,
        ),
        case(
            "exposed",
            'type: "RNN" recurrent_param { num_output: 2 expose_hidden: true }',
            normal(3, 2, 4),
            np.ones((3, 2)),
            normal(1, 2, 2),
            tops=2,
            wrt=[0],
            unused_tops=[1],
        ),
    ],
    "ReLU": [
        case("default", 'type: "ReLU"', off_kinks(normal(3, 4, 2))),
        case("slope", 'type: "ReLU" relu_param { negative_slope: 0.2 }', off_kinks(normal(3, 4))),
        case(
            "slope, in place",
            'type: "ReLU" relu_param { negative_slope: 0.2 }',
            off_kinks(normal(3, 4)),
            in_place=True,
        ),
        case(
            "negative slope, in place",
            'type: "ReLU" relu_param { negative_slope: -0.2 }',
            off_kinks(normal(3, 4)),
            in_place=True,
        ),
    ],
    "Reduction": [
        case("sum", 'type: "Reduction"', normal(2, 3)),
        case(
            "absolute sum",
            'type: "Reduction" reduction_param { operation: ASUM axis: 1 coeff: 2 }',
            off_kinks(normal(2, 3, 2)),
        ),
        case(
            "squares",
            'type: "Reduction" reduction_param { operation: SUMSQ axis: -1 coeff: -0.5 }',
            normal(2, 3, 2),
        ),
        case(
            "mean",
            'type: "Reduction" reduction_param { operation: MEAN axis: 1 coeff: 3 }',
            normal(2, 3, 2),
        ),
    ],
    "RelativeLoss": [
        case("same shape", 'type: "RelativeLoss"', normal(3, 4), normal(3, 4, seed=1), wrt=[0]),
        case("same count", 'type: "RelativeLoss"', normal(1, 4), normal(1, 2, 2), wrt=[0]),
    ],
    "Reshape": [
        case(
            "inferred",
            'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }',
            normal(2, 3, 2),
        ),
        case(
            "in the middle",
            'type: "Reshape" reshape_param { shape { dim: 2 dim: 3 } axis: 1 num_axes: 1 }',
            normal(2, 6, 2),
        ),
    ],
    "SPP": [
        case("maximum", 'type: "SPP" spp_param { pyramid_height: 2 }', distinct(2, 2, 5, 4)),
        case("mean", 'type: "SPP" spp_param { pyramid_height: 3 pool: AVE }', normal(1, 2, 9, 7)),
    ],
    "Scalar": [
        case("multiply", 'type: "Scalar" scalar_param { value: -2.5 }', normal(3, 4)),
        case("add", 'type: "Scalar" scalar_param { value: 1.5 operation: ADD }', normal(3, 4)),
        case(
            "add and pass",
            'type: "Scalar" scalar_param { operation: ADD passthrough_gradient: true }',
            normal(3, 4),
            in_place=True,
        ),
    ],
    "Scale": [
        case(
            "learned, with bias", 'type: "Scale" scale_param { bias_term: true }', normal(2, 3, 2)
        ),
        case(
            "learned over two axes, in place",
            'type: "Scale" scale_param { axis: 0 num_axes: 2 bias_term: true }',
            normal(2, 3, 2),
            in_place=True,
        ),
        case(
            "second bottom",
            'type: "Scale" scale_param { axis: -2 bias_term: true }',
            normal(2, 3, 2),
            normal(3, 2, seed=1),
        ),
        case("scalar bottom", 'type: "Scale"', normal(2, 3), normal()),
        case("all axes", 'type: "Scale" scale_param { num_axes: -1 }', normal(2, 3, 2)),
    ],
    "Sigmoid": [
        case("default", 'type: "Sigmoid"', normal(3, 4)),
        case("in place", 'type: "Sigmoid"', normal(3, 4), in_place=True),
    ],
    "SigmoidCrossEntropyLoss": [
        case(
            "default", 'type: "SigmoidCrossEntropyLoss"', normal(3, 4), positive(3, 4) / 2, wrt=[0]
        ),
        case(
            "ignored",
            'type: "SigmoidCrossEntropyLoss" loss_param { ignore_label: 1 normalization: VALID }',
            normal(2, 3),
            [[1.0, 0, 0.5], [0, 1, 0.2]],
            wrt=[0],
        ),
    ],
    "Silence": [
        case("two bottoms", 'type: "Silence"', normal(2, 3), normal(4), tops=0),
    ],
    "Slice": [
        case("equal pieces", 'type: "Slice"', normal(2, 4, 2), tops=2),
        case(
            "points",
            'type: "Slice" slice_param { axis: -1 slice_point: 1 slice_point: 4 }',
            normal(2, 3, 5),
            tops=3,
        ),
    ],
    "Softmax": [
        case("default", 'type: "Softmax"', normal(3, 4, 2)),
        case(
            "last axis, in place",
            'type: "Softmax" softmax_param { axis: -1 }',
            normal(3, 2, 4),
            in_place=True,
        ),
    ],
    "SoftmaxWithLoss": [
        case("default", 'type: "SoftmaxWithLoss"', normal(4, 3), [0.0, 2, 1, 2], wrt=[0]),
        case(
            "ignored, spatial, two tops",
            'type: "SoftmaxWithLoss" softmax_param { axis: 1 } '
            "loss_param { ignore_label: 255 normalization: BATCH_SIZE }",
            normal(2, 3, 2),
            [[0.0, 255], [1, 2]],
            wrt=[0],
            tops=2,
            unused_tops=[1],
        ),
    ],
    "Split": [
        case("three readers", 'type: "Split"', normal(2, 3), tops=3),
        case("one reader", 'type: "Split"', normal(2, 3)),
    ],
    "Swish": [
        case("default", 'type: "Swish"', normal(3, 4)),
        case(
            "beta, in place", 'type: "Swish" swish_param { beta: 1.7 }', normal(3, 4), in_place=True
        ),
    ],
    "TVLoss": [
        case("squares", 'type: "TVLoss"', normal(2, 2, 3, 4)),
        case(
            "beta and epsilon",
            'type: "TVLoss" tv_loss_param { beta: 1.3 epsilon: 0.05 }',
            normal(1, 3, 4, 3),
        ),
        case(
            "nine points", 'type: "TVLoss" tv_loss_param { form: NINE_POINT }', normal(2, 2, 3, 4)
        ),
        case("larger beta", 'type: "TVLoss" tv_loss_param { beta: 2.5 }', normal(1, 1, 4, 3)),
    ],
    "TanH": [
        case("default", 'type: "TanH"', normal(3, 4)),
        case("in place", 'type: "TanH"', normal(3, 4), in_place=True),
    ],
    "TemporalLoss": [
        case("held", 'type: "TemporalLoss"', *frames(2, 3, 4, 5), wrt=[0]),
        case(
            "relative",
            'type: "TemporalLoss" temporal_loss_param { relative: true }',
            *frames(1, 3, 4, 3),
            wrt=[0],
        ),
    ],
    "Tile": [
        case("default", 'type: "Tile" tile_param { tiles: 3 }', normal(2, 3, 2)),
        case("last axis", 'type: "Tile" tile_param { axis: -1 tiles: 2 }', normal(2, 3)),
    ],
    "Trim": [
        case("one place", 'type: "Trim"', normal(2, 2, 4, 3)),
        case("more than there are", 'type: "Trim" trim_param { margin: 2 }', normal(1, 2, 2, 7)),
    ],
    "WassersteinLoss": [
        case(
            "default",
            'type: "WassersteinLoss"',
            raw_moments(normal(2, 4, 30)),
            raw_moments(2 * normal(2, 4, 30, seed=1)),
            wrt=[0],
        ),
        case(
            "relative, fewer places than channels",
            'type: "WassersteinLoss" wasserstein_loss_param { epsilon: 0.03 relative: true }',
            raw_moments(normal(1, 4, 3)),
            raw_moments(normal(1, 4, 3, seed=1)),
            wrt=[0],
        ),
    ],
}
"""Type -> its gradient checks."""

NOT_A_GRADIENT: dict[str, str] = {
    "Event": "the gate masks the gradient: Gatys' formula, or MyCaffe's handler",
    "Scalar passthrough_gradient": "MyCaffe's style procedure hands the gradient on unscaled",
    "Gram disable_scaling_on_gradient": "MyCaffe's style procedure leaves alpha and beta out",
    "MVN eps": "Caffe differentiates as if eps were 0; the difference is of the order of eps",
    "ContrastiveLoss": "Caffe adds 1e-4 to the distance of unlike pairs; the check allows 2e-4",
    "RNN expose_hidden": "Caffe's inner net has its losses on the output alone, not on states",
    "LSTM expose_hidden": "Caffe's inner net has its losses on the output alone, not on states",
}
"""Where backward is by design not the derivative, and why; test_not_a_gradient.py has the formulas."""

WITHOUT_GRADIENT: dict[str, str] = {
    "Accuracy": "counts; asking for a gradient is an error",
    "ArgMax": "gives indices; asking for a gradient is an error",
    "Threshold": "gives zeros and ones; asking for a gradient is an error",
    "Data": "a source: it has no bottoms",
    "DummyData": "a source: it has no bottoms",
    "HDF5Data": "a source: it has no bottoms",
    "ImageData": "a source: it has no bottoms",
    "Input": "a source: it has no bottoms",
    "MemoryData": "a source: it has no bottoms",
    "Parameter": "a source: its top is its parameter, memory and all",
    "WindowData": "a source: it has no bottoms",
    "HDF5Output": "nothing depends on what is written to a file",
    "Python": "the gradient is the business of the user's class",
}
"""Types that have nothing to differentiate, and why."""
