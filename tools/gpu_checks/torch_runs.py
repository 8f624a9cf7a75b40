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
from benchmark import nets, torch_nets
from numpy.typing import NDArray

from gpu_checks.runs import NET, RATE, Run

LOSS_SCALE = 1024.0


def torch_run(kind: str, size: int, device: str) -> Run:
    """kind: fp64, fp32, tf32 or fp16, with "+compile" for torch.compile and "+graphs" for its graphs too."""
    precision, *options = kind.split("+")
    dtype = {"fp64": torch.float64, "fp16": torch.float16}.get(precision, torch.float32)
    half = dtype == torch.float16
    module: Any = torch_nets.FeatureModule(NET).eval().requires_grad_(False)
    module = module.to(device, dtype, memory_format=torch.channels_last)
    pictures = [torch.from_numpy(nets.picture(size, seed)).to(device) for seed in (1, 2, 3)]
    wide = torch.float64 if precision == "fp64" else torch.float32
    image = pictures[2].to(wide).contiguous(memory_format=torch.channels_last).requires_grad_(True)
    objective = nets.objective(NET)
    style, content = [tap.blob for tap in objective.style], objective.content[0].blob

    def features(picture: torch.Tensor) -> dict[str, torch.Tensor]:
        stored = picture.to(dtype, memory_format=torch.channels_last)
        return {name: blob.to(wide) for name, blob in module(stored).items()}

    with torch.no_grad():
        grams = {tap: _gram(features(pictures[0])[tap]) for tap in style}
        wanted = features(pictures[1])[content].clone()

    def objective_at(picture: torch.Tensor) -> torch.Tensor:
        blobs = features(picture)
        terms = sum(F.mse_loss(_gram(blobs[tap]), gram) for tap, gram in grams.items())
        return objective.style_weight * terms + F.mse_loss(blobs[content], wanted)

    loss_of: Callable[[torch.Tensor], torch.Tensor] = objective_at
    if options:
        mode = "reduce-overhead" if "graphs" in options else "default"
        loss_of = torch.compile(objective_at, mode=mode, dynamic=False)
    rule = torch.optim.Adam([image], lr=RATE, fused=device == "cuda" or None)
    scale = LOSS_SCALE if half else 1.0

    def evaluate() -> torch.Tensor:
        _set_tf32(precision == "tf32" or half)
        image.grad = None
        loss = loss_of(image)
        (loss * scale).backward()
        if half:
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
        f"torch {kind}",
        step,
        torch.cuda.synchronize if device == "cuda" else lambda: None,
        lambda: float(evaluate().detach()),
        gradient,
        lambda: np.array(image.detach().float().cpu()),
    )


def _set_tf32(allowed: bool) -> None:
    """PyTorch has one switch for the whole process; runs take turns."""
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


def _gram(x: torch.Tensor) -> torch.Tensor:
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])  # no copy in channels_last
    return rows.t() @ rows / len(rows)
