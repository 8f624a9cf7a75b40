"""The same iterations in PyTorch, as its users make them fast: channels_last, half precision, compiled.

Half precision keeps Gram matrices and losses in float32 and scales the loss, as every working recipe does;
the picture and Adam are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmark import nets
from numpy.typing import NDArray

from gpu_checks import pictures
from gpu_checks.runs import CONTENT_SHARE, NET, RATE, Run, random_weights
from gpu_checks.vgg import LAYERS, POOLED

LOSS_SCALE = 1024.0


class Vgg(torch.nn.Module):
    """VGG19 up to conv5_1; returns the rectified maps of the taps."""

    def __init__(self, taps: list[str]) -> None:
        super().__init__()
        self.taps = taps
        weights = random_weights()
        for layer in LAYERS:
            convolution = torch.nn.Conv2d(layer.inputs, layer.outputs, 3, padding=1)
            with torch.no_grad():
                convolution.weight.copy_(torch.from_numpy(weights[layer.name][0]))
                convolution.bias.copy_(torch.from_numpy(weights[layer.name][1]))
            self.add_module(layer.name, convolution)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        found = {}
        for name, convolution in self.named_children():
            x = F.relu(convolution(x), inplace=True)
            if name in self.taps:
                found[name] = x
            if name in POOLED:
                x = F.max_pool2d(x, 2)
        return found


def torch_run(kind: str, size: int, device: str) -> Run:
    """kind: fp64, fp32, tf32 or fp16; "+compile" for torch.compile, "+graphs" for its CUDA graphs too."""
    precision, *options = kind.split("+")
    stored = {"fp64": torch.float64, "fp16": torch.float16}.get(precision, torch.float32)
    wide = torch.float64 if precision == "fp64" else torch.float32
    style, content = (pictures.picture(size, seed) for seed in (pictures.STYLE, pictures.CONTENT))
    style, content, image = (
        torch.from_numpy(picture).to(device, wide).contiguous(memory_format=torch.channels_last)
        for picture in (style, content, pictures.start(size))
    )
    image.requires_grad_(True)
    loss_of = _objective(style, content, stored, wide)
    if options:
        mode = "reduce-overhead" if "graphs" in options else "default"
        loss_of = torch.compile(loss_of, mode=mode, dynamic=False)
    rule = torch.optim.Adam([image], lr=RATE, fused=device == "cuda" or None)
    scale = LOSS_SCALE if stored == torch.float16 else 1.0

    def evaluate() -> torch.Tensor:
        _allow_tf32(precision in ("tf32", "fp16"))
        if "graphs" in options:
            torch.compiler.cudagraph_mark_step_begin()
        image.grad = None
        loss = loss_of(image)
        (loss * scale).backward()
        if scale != 1:
            image.grad.mul_(1 / scale)
        return loss

    def step(count: int) -> None:
        for _ in range(count):
            evaluate()
            rule.step()

    def gradient() -> NDArray[Any]:
        evaluate()
        return image.grad.double().cpu().numpy()

    return Run(
        step,
        torch.cuda.synchronize if device == "cuda" else lambda: None,
        lambda: float(evaluate().detach()),
        gradient,
        lambda: np.array(image.detach().float().cpu()),
    )


def _objective(
    style: torch.Tensor, content: torch.Tensor, stored: torch.dtype, wide: torch.dtype
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The loss of a picture; see gpu_checks.runs.painting_net."""
    objective = nets.objective(NET)
    taps, tap = [tap.blob for tap in objective.style], objective.content[0].blob
    net = Vgg([*taps, tap]).eval().requires_grad_(False)
    net = net.to(style.device, stored, memory_format=torch.channels_last)

    def features(picture: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = net(picture.to(stored, memory_format=torch.channels_last))
        return {name: blob.to(wide) for name, blob in maps.items()}

    with torch.no_grad():
        painted = features(style)
        grams = {name: _gram(painted[name]) for name in taps}
        wanted = features(content)[tap].clone()
        sizes = {name: float(gram.double().square().mean()) for name, gram in grams.items()}
        content_weight = CONTENT_SHARE / float(wanted.double().square().mean())

    def loss_of(picture: torch.Tensor) -> torch.Tensor:
        maps = features(picture)
        terms = sum(F.mse_loss(_gram(maps[name]), grams[name]) / sizes[name] for name in taps)
        return terms + content_weight * F.mse_loss(maps[tap], wanted)

    return loss_of


def _allow_tf32(allowed: bool) -> None:
    """PyTorch has one switch for the whole process; runs take turns."""
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


def _gram(x: torch.Tensor) -> torch.Tensor:
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])  # no copy in channels_last
    return rows.t() @ rows / len(rows)
