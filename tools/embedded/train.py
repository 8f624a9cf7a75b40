"""Trains the embedded network to tell drawn textures apart, and saves its folded convolutions.

    python tools/embedded/train.py out/canvases.npy out/weights.npz --stages 48:1200:1 64:600:2 96:150:2

A stage is `crop:batches:passes`; the learning rate falls once over all of them. A batch is seen with
uniform noise; in a stage of two passes it is then moved along the loss's own gradient and seen again
(one step of adversarial training). A
network that fine noise cannot fool has smooth gradients, and a painting made with it has strokes where
an ordinary classifier of this size is content with grain. The weights are saved every `--save-every`
batches, so that a run can be judged by eye before it ends.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from network import HEADS, MEAN, Classifier, load
from numpy.random import Generator, default_rng
from torch import Tensor

BATCH, GROUP = 32, 4
NOISE, PUSH = 6.0, 2.5  # half width of the noise, root mean square of the push; of 255
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


def accuracy(model: Classifier, crops: Crops, side: int, batches: int) -> dict[str, float]:
    """Share of held-out crops that each head names rightly."""
    model.eval()
    right = dict.fromkeys(HEADS, 0)
    with torch.no_grad():
        for _ in range(batches):
            x, y = crops.batch(side, held_out=True)
            for name, scores in model(x).items():
                right[name] += int((scores.argmax(1) == y).sum())
    model.train()
    return {name: count / (batches * BATCH) for name, count in right.items()}


def save(model: Classifier, path: Path) -> None:
    arrays = {}
    for name, (weight, bias) in model.features.folded().items():
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = weight, bias
    np.savez(path, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("canvases", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--stages", nargs="+", default=["48:1200:1", "64:600:2", "96:150:2"])
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--start", type=Path, help="weights of an earlier run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    train(arguments)


def train(arguments: argparse.Namespace) -> None:
    crops = Crops(arguments.canvases, arguments.seed)
    model = Classifier(crops.classes).to(memory_format=torch.channels_last)
    if arguments.start:
        model.features.start_from(load(arguments.start), crops.batch(64)[0])
    batches = [batch for stage in arguments.stages for batch in stage_batches(stage)]
    optimiser = torch.optim.AdamW(model.parameters(), arguments.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, arguments.rate, total_steps=len(batches) + 1, pct_start=0.03
    )
    start, seen = time.monotonic(), []
    for step, (side, passes) in enumerate(batches, 1):
        x, y = crops.batch(side)
        x = x.contiguous(memory_format=torch.channels_last)
        noise = torch.empty_like(x).uniform_(-NOISE, NOISE)
        gradient, loss, right = learn(model, optimiser, x + noise, y)
        if passes == 2:
            push = gradient / (gradient.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-12)
            learn(model, optimiser, x + PUSH * push, y)
        schedule.step()
        seen.append(right)
        if step % 50 == 0:
            report(step, side, time.monotonic() - start, loss, seen[-50:])
        if step % arguments.save_every == 0:
            save(model, arguments.output)
    save(model, arguments.output)
    torch.save(model.state_dict(), arguments.output.with_suffix(".pt"))
    found = accuracy(model, crops, batches[-1][0], 50)
    print("held out:", ", ".join(f"{name} {share:.3f}" for name, share in found.items()))


def learn(
    model: Classifier, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> tuple[Tensor, float, float]:
    """One step; returns the gradient of the picture, the loss, and the share of right answers."""
    x = x.detach().requires_grad_(True)
    scores = model(x)
    loss = sum(
        HEAD_WEIGHTS[name] * F.cross_entropy(s, y, label_smoothing=0.1)
        for name, s in scores.items()
    )
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    right = (scores["conv5_1"].argmax(1) == y).float().mean().item()
    return x.grad, loss.item(), right


def report(step: int, side: int, clock: float, loss: float, seen: list[float]) -> None:
    print(f"{step} {side}px {clock:.0f}s loss {loss:.3f} accuracy {np.mean(seen):.3f}", flush=True)


def stage_batches(stage: str) -> list[tuple[int, int]]:
    """`crop:batches:passes` as one (crop, passes) per batch."""
    side, count, passes = (int(part) for part in stage.split(":"))
    return [(side, passes)] * count


if __name__ == "__main__":
    main()
