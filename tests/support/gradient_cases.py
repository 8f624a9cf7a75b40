"""What is gradient-checked, per layer type: at least one case has every parameter off its default.

Values are random but fixed, and kept off kinks by far more than the step of the check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
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


def case(name: str, text: str, *bottoms: Values, **options: Any) -> GradientCase:
    return GradientCase(name, text, bottoms, options)


CASES: dict[str, list[GradientCase]] = {
    "Concat": [
        case("default", 'type: "Concat"', normal(2, 3, 2), normal(2, 1, 2), normal(2, 2, 2)),
        case(
            "last axis",
            'type: "Concat" concat_param { axis: -1 }',
            normal(2, 3, 2),
            normal(2, 3, 4),
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
    "Softmax": [
        case("default", 'type: "Softmax"', normal(3, 4, 2)),
        case(
            "last axis, in place",
            'type: "Softmax" softmax_param { axis: -1 }',
            normal(3, 2, 4),
            in_place=True,
        ),
    ],
    "Split": [
        case("three readers", 'type: "Split"', normal(2, 3), tops=3),
        case("one reader", 'type: "Split"', normal(2, 3)),
    ],
    "TVLoss": [
        case("squares", 'type: "TVLoss"', normal(2, 2, 3, 4)),
        case(
            "beta and epsilon",
            'type: "TVLoss" tv_loss_param { beta: 1.3 epsilon: 0.05 }',
            normal(1, 3, 4, 3),
        ),
        case("larger beta", 'type: "TVLoss" tv_loss_param { beta: 2.5 }', normal(1, 1, 4, 3)),
    ],
}
"""Type -> its gradient checks."""
