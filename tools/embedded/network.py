"""The embedded network: VGG19's layer names at a fraction of its width, as a PyTorch module.

The semantics are Caffe's: zero padding, pooling 2x2/2 rounded up, input BGR 0..255 minus MEAN.
Learning is done with maximum pooling. Painting (export.py) is done with average pooling: through a
maximum the gradient reaches one pixel of four, and paints a lattice.
Training looks through BatchNorm and a softer input scale; `folded` returns the plain convolutions.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MEAN = (104.0, 117.0, 123.0)
INPUT_SCALE = 1 / 64
CONVOLUTIONS = {
    "conv1_1": 24,
    "conv1_2": 32,
    "conv2_1": 48,
    "conv2_2": 64,
    "conv3_1": 96,
    "conv3_2": 96,
    "conv4_1": 128,
    "conv4_2": 128,
    "conv5_1": 160,
}
HEADS = ("conv3_2", "conv4_2", "conv5_1")
GRAIN_HEADS = ("conv2_2", "conv3_2", "conv4_2")


class Folded(NamedTuple):
    """A convolution with BatchNorm in it: weight (out, in, 3, 3), bias (out,), float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def load(path: Path) -> dict[str, Folded]:
    """Weights by layer name, as train.py saves them."""
    arrays = np.load(path)
    return {n: Folded(arrays[f"{n}.weight"], arrays[f"{n}.bias"]) for n in CONVOLUTIONS}


def starts_block(name: str) -> bool:
    """Whether a pooling layer stands before this convolution."""
    return name.endswith("_1") and name != "conv1_1"


class Features(nn.Module):
    """Convolution, BatchNorm, ReLU for each name; returns every rectified output by name."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions, self.norms = nn.ModuleDict(), nn.ModuleDict()
        channels = 3
        for name, width in CONVOLUTIONS.items():
            self.convolutions[name] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            self.norms[name] = nn.BatchNorm2d(width)
            channels = width
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = {}
        x = x * INPUT_SCALE
        for name, convolution in self.convolutions.items():
            x = self.pool(x) if starts_block(name) else x
            x = torch.relu(self.norms[name](convolution(x)))
            found[name] = x
        return found

    @torch.no_grad()
    def start_from(self, layers: dict[str, Folded], x: Tensor) -> None:
        """Takes folded weights over; BatchNorm is set so that on `x` it changes nothing."""
        x = x * INPUT_SCALE
        for name, (weight, bias) in layers.items():
            scale = 1 / INPUT_SCALE if name == "conv1_1" else 1.0
            self.convolutions[name].weight.copy_(torch.as_tensor(weight) * scale)
            x = self.convolutions[name](self.pool(x) if starts_block(name) else x)
            variance, mean = torch.var_mean(x, dim=(0, 2, 3))
            self.norms[name].weight.copy_(torch.sqrt(variance + self.norms[name].eps))
            self.norms[name].bias.copy_(mean + torch.as_tensor(bias))
            x = torch.relu(x + torch.as_tensor(bias)[:, None, None])

    def folded(self) -> dict[str, Folded]:
        """The same function in evaluation mode, without BatchNorm and input scale."""
        result, scale = {}, INPUT_SCALE
        for name, convolution in self.convolutions.items():
            norm = self.norms[name]
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = convolution.weight * gain[:, None, None, None] * scale
            bias = norm.bias - norm.running_mean * gain
            result[name] = Folded(weight.detach().numpy(), bias.detach().numpy())
            scale = 1.0
        return result


class Critic(nn.Module):
    """What gives the features something to learn: which texture is it, and where has it been spoilt.

    A linear head per depth names the texture of a crop; a 1x1 convolution per depth says for every
    position whether the crop carries grain there.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = Features()
        self.heads = nn.ModuleDict({n: nn.Linear(2 * CONVOLUTIONS[n], classes) for n in HEADS})
        self.grain = nn.ModuleDict({n: nn.Conv2d(CONVOLUTIONS[n], 1, 1) for n in GRAIN_HEADS})

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Texture scores (n, classes) and grain scores (n, 1, h, w), by layer."""
        found = self.features(x)
        textures = {name: head(summary(found[name])) for name, head in self.heads.items()}
        return textures, {name: head(found[name]) for name, head in self.grain.items()}


def summary(x: Tensor) -> Tensor:
    """Mean and standard deviation of each channel, shape (n, 2 * channels)."""
    variance, mean = torch.var_mean(x, dim=(2, 3), unbiased=False)
    return torch.cat([mean, torch.sqrt(variance + 1e-5)], 1)
