"""The same nets in PyTorch, as a user would write them: modules, autograd, `f @ f.T` for the Gram matrix.

The graph is read from the same prototxt, so that both sides compute the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from benchmark import nets
from benchmark.iterations import Iterations
from nst.proto import LayerParameter, PoolingParameter
from nst.style.augment import for_extraction


class FeatureModule(torch.nn.Module):
    """Runs the layers of a prototxt one after the other; returns the tapped blobs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        objective = nets.objective(name)
        net = for_extraction(nets.feature_net(name), objective)
        self.entry = net.layer[0].top[0]
        self.layers = [layer for layer in net.layer[1:] if layer.type != "Gram"]
        self.taps = objective.taps
        self.modules_by_name = torch.nn.ModuleDict()
        weights = nets.random_weights(name)
        for layer in self.layers:
            if layer.type == "Convolution":
                module = _convolution(layer, weights[layer.name])
                self.modules_by_name[layer.name.replace(".", "_")] = module

    def forward(self, picture: torch.Tensor) -> dict[str, torch.Tensor]:
        blobs = {self.entry: picture}
        for layer in self.layers:
            blobs[layer.top[0]] = self._run(layer, [blobs[name] for name in layer.bottom])
        return {tap: blobs[tap] for tap in self.taps}

    def _run(self, layer: LayerParameter, inputs: list[torch.Tensor]) -> torch.Tensor:
        x = inputs[0]
        if layer.type == "Convolution":
            return self.modules_by_name[layer.name.replace(".", "_")](x)
        if layer.type == "ReLU":
            return F.relu(x, inplace=True)
        if layer.type == "Pooling":
            return pool(layer.pooling_param, x)
        if layer.type == "LRN":
            p = layer.lrn_param
            return F.local_response_norm(x, p.local_size, p.alpha, p.beta, p.k)
        if layer.type == "Concat":
            return torch.cat(inputs, 1)
        if layer.type == "Dropout":
            return x
        raise ValueError(f"layer '{layer.name}': no PyTorch form of {layer.type}")


def make(name: str, size: int, threads: int, *, channels_last: bool) -> Iterations:
    torch.set_num_threads(threads)
    module = FeatureModule(name).eval().requires_grad_(False)
    pictures = [torch.from_numpy(nets.picture(size, seed)) for seed in (1, 2, 3)]
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
        pictures = [p.contiguous(memory_format=torch.channels_last) for p in pictures]
    objective = nets.objective(name)
    style = [tap.blob for tap in objective.style]
    content = objective.content[0].blob
    with torch.no_grad():
        wanted = module(pictures[0])
        grams = {tap: _gram(wanted[tap]) for tap in style}
        feature = module(pictures[1])[content].clone()
    image = pictures[2].requires_grad_(True)

    def forward() -> None:
        with torch.no_grad():
            blobs = module(image)
            for tap in style:
                _gram(blobs[tap])

    def both() -> float:
        image.grad = None
        loss = _loss(module(image), grams, content, feature, objective.style_weight)
        loss.backward()
        return loss.item()

    return Iterations(forward, both, lambda: image.grad.numpy())


def _loss(
    blobs: Mapping[str, torch.Tensor],
    grams: Mapping[str, torch.Tensor],
    content: str,
    feature: torch.Tensor,
    style_weight: float,
) -> torch.Tensor:
    style = sum(F.mse_loss(_gram(blobs[tap]), gram) for tap, gram in grams.items())
    return style_weight * style + F.mse_loss(blobs[content], feature)


def _gram(x: torch.Tensor) -> torch.Tensor:
    rows = x.reshape(x.shape[1], -1)
    return rows @ rows.t() / rows.shape[1]


def pair(p: Any, both: Any, high: str, wide: str, default: int) -> tuple[int, int]:
    if p.HasField(high):
        return getattr(p, high), getattr(p, wide)
    values = [both] if isinstance(both, int) else list(both)
    values = values or [default]
    return values[0], values[-1]


def _convolution(layer: LayerParameter, weights: list[Any]) -> torch.nn.Conv2d:
    p, kernel = layer.convolution_param, weights[0].shape
    module = torch.nn.Conv2d(
        kernel[1] * p.group,
        kernel[0],
        kernel[2:],
        stride=pair(p, p.stride, "stride_h", "stride_w", 1),
        padding=pair(p, p.pad, "pad_h", "pad_w", 0),
        groups=p.group,
    )
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weights[0]))
        module.bias.copy_(torch.from_numpy(weights[1]))
    return module


def pool(p: PoolingParameter, x: torch.Tensor) -> torch.Tensor:
    kernel = F.max_pool2d if p.pool == PoolingParameter.MAX else F.avg_pool2d
    return kernel(x, p.kernel_size, p.stride, p.pad, ceil_mode=True)
