"""Trains the embedded network on drawn textures, and saves its folded convolutions.

    python tools/embedded/train.py out/canvases.npy out/weights.npz --stages 48:300:1 64:1500:2

A stage is `crop:batches:passes`; the learning rate falls once over all of them. The network learns to
name the texture of a crop, and to see where the crop has been spoilt: first with noise, and in the
second pass with the network's own gradient, which is just what a painting made by descent is tempted
to put in the place of strokes. Features that see such grain make descent paint without it. The weights
are saved every `--save-every` batches, so that a run can be judged by eye before it ends.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from network import HEADS, MEAN, Critic, load
from numpy.random import Generator, default_rng
from torch import Tensor

BATCH, GROUP = 32, 4
GRAIN = (5.0, 25.0)  # root mean square of what spoils a crop, of 255
HEAD_WEIGHTS = {"conv3_2": 0.3, "conv4_2": 0.4, "conv5_1": 1.0}


class Crops:
    """Random crops of the canvases: BGR minus the mean, shape (batch, 3, side, side), and labels."""

    def __init__(self, path: Path, seed: int) -> None:
        self.canvases = torch.from_numpy(np.load(path))
        self.classes, self.count, self.size = self.canvases.shape[:3]
        self.rng = default_rng(seed)

    def batch(self, side: int, held_out: bool = False) -> tuple[Tensor, Tensor]:
        labels = self.rng.integers(self.classes, size=BATCH)
        groups = [
            self._group(labels[k : k + GROUP], side, held_out) for k in range(0, BATCH, GROUP)
        ]
        return torch.cat(groups) - torch.tensor(MEAN)[:, None, None], torch.from_numpy(labels)

    def _group(self, labels: np.ndarray, side: int, held_out: bool) -> Tensor:
        """Crops of one random scale, shrunk with antialiasing."""
        window = min(int(side * 2 ** self.rng.uniform(0, 1)), self.size)
        crops = []
        for label in labels:
            number = self.count - 1 if held_out else self.rng.integers(self.count - 1)
            y, x = self.rng.integers(self.size - window + 1, size=2)
            crops.append(self.canvases[label, number, y : y + window, x : x + window])
        pixels = torch.stack(crops).permute(0, 3, 1, 2).float().flip(1)
        pixels = F.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
        if self.rng.random() < 0.5:
            pixels = pixels.flip(3)
        return torch.stack([recolour(crop, self.rng) for crop in pixels])


def recolour(crop: Tensor, rng: Generator) -> Tensor:
    """Random contrast, brightness, channel gains and, at times, channel order."""
    gain = rng.uniform(0.6, 1.3) * rng.normal(1, 0.15, 3)
    order = rng.permutation(3) if rng.random() < 0.35 else np.arange(3)
    gains = torch.from_numpy(gain).float()[:, None, None]
    return ((crop[order] - 128) * gains + 128 + rng.normal(0, 20)).clamp(0, 255)


def blobs(rng: Generator, count: int, side: int) -> Tensor:
    """Random regions: 1 inside, 0 outside, shape (count, 1, side, side)."""
    coarse = torch.from_numpy(rng.normal(0, 1, (count, 1, 5, 5))).float()
    return (F.interpolate(coarse, size=(side, side), mode="bicubic") > 0.2).float()


def grain(rng: Generator, x: Tensor) -> Tensor:
    """Noise of the shape of `x` and root mean square 1: coloured or grey, white or fine only."""
    noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
    grey = torch.from_numpy(rng.uniform(size=(len(x), 1, 1, 1)) < 0.4)
    fine = torch.from_numpy(rng.uniform(size=(len(x), 1, 1, 1)) < 0.5)
    noise = torch.where(grey, noise.mean(1, keepdim=True), noise)
    return unit(torch.where(fine, noise - F.avg_pool2d(noise, 3, 1, 1), noise))


def unit(x: Tensor) -> Tensor:
    """Each sample scaled to root mean square 1."""
    return x / (x.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-12)


def strength(rng: Generator, count: int) -> Tensor:
    return torch.from_numpy(np.exp(rng.uniform(*np.log(GRAIN), (count, 1, 1, 1)))).float()


def accuracy(model: Critic, crops: Crops, side: int, batches: int) -> dict[str, float]:
    """Share of held-out crops, unspoilt, that each head names rightly."""
    model.eval()
    right = dict.fromkeys(HEADS, 0)
    with torch.no_grad():
        for _ in range(batches):
            x, y = crops.batch(side, held_out=True)
            for name, scores in model(x)[0].items():
                right[name] += int((scores.argmax(1) == y).sum())
    model.train()
    return {name: count / (batches * BATCH) for name, count in right.items()}


def save(model: Critic, path: Path) -> None:
    arrays = {}
    for name, (weight, bias) in model.features.folded().items():
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = weight, bias
    np.savez(path, **arrays)
    torch.save(model.state_dict(), path.with_suffix(".pt"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("canvases", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--stages", nargs="+", default=["48:300:1", "64:1500:2"])
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument(
        "--start", type=Path, help="an earlier run: its .pt, or its .npz without the heads"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    train(arguments)


def train(arguments: argparse.Namespace) -> None:
    crops = Crops(arguments.canvases, arguments.seed)
    model = Critic(crops.classes).to(memory_format=torch.channels_last)
    if arguments.start and arguments.start.suffix == ".pt":
        model.load_state_dict(torch.load(arguments.start))
    elif arguments.start:
        model.features.start_from(load(arguments.start), crops.batch(64)[0])
    batches = [batch for stage in arguments.stages for batch in stage_batches(stage)]
    optimiser = torch.optim.AdamW(model.parameters(), arguments.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, arguments.rate, total_steps=len(batches) + 1, pct_start=0.03
    )
    start, seen, rng = time.monotonic(), [], default_rng(arguments.seed + 1)
    for step, (side, passes) in enumerate(batches, 1):
        x, y = crops.batch(side)
        where = blobs(rng, len(x), side)
        spoilt = x + where * strength(rng, len(x)) * grain(rng, x)
        gradient, loss, right = learn(model, optimiser, spoilt, y, where)
        if passes == 2:
            where = blobs(rng, len(x), side)
            spoilt = x + where * strength(rng, len(x)) * unit(gradient)
            learn(model, optimiser, spoilt, y, where)
        schedule.step()
        seen.append(right)
        if step % 50 == 0:
            report(step, side, time.monotonic() - start, loss, seen[-50:])
        if step % arguments.save_every == 0:
            save(model, arguments.output)
    save(model, arguments.output)
    found = accuracy(model, crops, batches[-1][0], 50)
    print("held out:", ", ".join(f"{name} {share:.3f}" for name, share in found.items()))


def learn(
    model: Critic, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor, where: Tensor
) -> tuple[Tensor, float, float]:
    """One step; returns the gradient of the picture, the loss, and the share of right names."""
    x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
    textures, spots = model(x)
    loss = sum(
        HEAD_WEIGHTS[name] * F.cross_entropy(scores, y, label_smoothing=0.1)
        for name, scores in textures.items()
    )
    for scores in spots.values():
        target = F.adaptive_avg_pool2d(where, scores.shape[2:])
        loss = loss + F.binary_cross_entropy_with_logits(scores, target)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    right = (textures["conv5_1"].argmax(1) == y).float().mean().item()
    return x.grad, loss.item(), right


def report(step: int, side: int, clock: float, loss: float, seen: list[float]) -> None:
    print(f"{step} {side}px {clock:.0f}s loss {loss:.3f} accuracy {np.mean(seen):.3f}", flush=True)


def stage_batches(stage: str) -> list[tuple[int, int]]:
    """`crop:batches:passes` as one (crop, passes) per batch."""
    side, count, passes = (int(part) for part in stage.split(":"))
    return [(side, passes)] * count


if __name__ == "__main__":
    main()
