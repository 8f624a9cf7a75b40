"""A small VGG-shaped net with seeded He weights, and pictures drawn in memory, for the style tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nst.io.prototxt import parse_net
from nst.proto import NetParameter

WIDTHS = {"conv1_1": 6, "conv1_2": 6, "conv2_1": 8, "conv3_1": 8, "conv3_2": 8}
POOLED_AFTER = ("conv1_2", "conv2_1")


def tiny_net() -> NetParameter:
    """conv1_1 - conv1_2 - pool - conv2_1 - pool - conv3_1 - conv3_2 - fc - prob, ReLUs in place."""
    text = [
        'name: "tiny"',
        'layer { name: "data" type: "Input" top: "data" '
        "input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }",
    ]
    bottom = "data"
    for name, width in WIDTHS.items():
        text.append(
            f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
            f"convolution_param {{ num_output: {width} kernel_size: 3 pad: 1 }} }}"
        )
        relu = name.replace("conv", "relu")
        text.append(f'layer {{ name: "{relu}" type: "ReLU" bottom: "{name}" top: "{name}" }}')
        bottom = name
        if name in POOLED_AFTER:
            bottom = name.replace("conv", "pool")
            text.append(
                f'layer {{ name: "{bottom}" type: "Pooling" bottom: "{name}" top: "{bottom}" '
                "pooling_param { kernel_size: 2 stride: 2 } }"
            )
    text.append(
        f'layer {{ name: "fc" type: "InnerProduct" bottom: "{bottom}" top: "fc" '
        "inner_product_param { num_output: 4 } }"
        'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }'
    )
    return parse_net("\n".join(text))


def tiny_weights(seed: int = 0) -> dict[str, list[NDArray[np.float32]]]:
    """He weights and small positive biases for the convolutions of `tiny_net`."""
    rng = np.random.default_rng(seed)
    weights, channels = {}, 3
    for name, width in WIDTHS.items():
        w = rng.normal(size=(width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        weights[name] = [w.astype(np.float32), rng.uniform(0, 0.1, width).astype(np.float32)]
        channels = width
    return weights


def pixels(height: int, width: int, seed: int) -> NDArray[np.float32]:
    """A smooth random picture as the net sees it: (1, 3, H, W), about -100 to 100."""
    return np.ascontiguousarray(picture(height, width, seed).transpose(2, 0, 1)[None] - 128.0)


def picture(height: int, width: int, seed: int) -> NDArray[np.float32]:
    """A smooth random RGB picture (H, W, 3), 0 to 255."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 8.0
    waves = [
        np.sin(a * x + b * y + c)
        for a, b, c in zip(
            rng.uniform(0.5, 3, 3), rng.uniform(0.5, 3, 3), rng.uniform(0, 6, 3), strict=True
        )
    ]
    noise = rng.normal(0, 12, (height, width, 3))
    return np.clip(128 + 80 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.float32)
