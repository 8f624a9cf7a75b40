"""Paints with candidate weights, to judge them by eye: the style procedure in PyTorch, in small.

    python tools/embedded/stylize.py out/weights.npz CONTENT STYLE out/result.png --size 320

Loss, with features F of the picture, P of the content, G = F F^T / (positions) and A the style's:
content * mean (F - P)^2 / mean P^2  +  style * mean over layers of mean (G - A)^2 / mean A^2
+ tv * mean squared difference of neighbours. Coarse to fine over `--sizes` (longest sides).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from export import forward
from network import MEAN, load
from PIL import Image
from torch import Tensor

Network = Callable[[Tensor], dict[str, Tensor]]
STYLE = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT = "conv4_2"


def picture(path: Path, longest: int) -> Tensor:
    """BGR minus the mean, shape (1, 3, h, w)."""
    image = Image.open(path).convert("RGB")
    scale = longest / max(image.size)
    image = image.resize([round(scale * side) for side in image.size], Image.Resampling.LANCZOS)
    bgr = torch.from_numpy(np.asarray(image, np.float32).copy()).permute(2, 0, 1).flip(0)
    return (bgr - torch.tensor(MEAN)[:, None, None])[None].contiguous()


def save(x: Tensor, path: Path) -> None:
    rgb = (x[0] + torch.tensor(MEAN)[:, None, None]).flip(0).permute(1, 2, 0)
    Image.fromarray(rgb.clamp(0, 255).round().byte().numpy()).save(path)


def gram(features: Tensor) -> Tensor:
    flat = features[0].flatten(1)
    return flat @ flat.T / flat.shape[1]


def paint(
    network: Network, x: Tensor, content: Tensor, style: Tensor, options: argparse.Namespace
) -> Tensor:
    """One size: L-BFGS with strong Wolfe conditions from `x`."""
    with torch.no_grad():
        target = network(content)[options.content_tap]
        found = network(style)
        grams = {name: gram(found[name]) for name in options.style_taps}
    norms = {name: g.square().mean() for name, g in grams.items()}
    x = x.clone(memory_format=torch.contiguous_format).requires_grad_(True)
    solver = torch.optim.LBFGS(
        [x],
        max_iter=options.iterations,
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )
    calls = 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        solver.zero_grad()
        now = network(x)
        manner = sum((gram(now[n]) - g).square().mean() / norms[n] for n, g in grams.items())
        manner = manner / len(grams)
        matter = (now[options.content_tap] - target).square().mean() / target.square().mean()
        rough = x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean()
        loss = options.style_weight * manner + matter + options.tv * rough
        loss.backward()
        if calls % 50 == 0:
            print(
                f"{tuple(x.shape[2:])} {calls}: style {manner:.4f} content {matter:.4f} rough {rough:.0f}",
                flush=True,
            )
        return loss

    solver.step(closure)
    return x.detach()


def run(network: Network, options: argparse.Namespace) -> Tensor:
    x = None
    for size in options.sizes:
        content, style = (
            picture(options.content, size),
            picture(options.style, int(size * options.style_scale)),
        )
        start = content if x is None else F.interpolate(x, content.shape[2:], mode="bicubic")
        x = paint(network, start, content, style, options)
    assert x is not None
    return x


def squeezenet(path: Path) -> Network:
    """SqueezeNet v1.0 (Deep Compression names) up to fire9, to compare with."""
    from nst.proto.nst_pb2 import NetParameter

    net = NetParameter.FromString(path.read_bytes())
    blobs = {
        layer.name: [torch.tensor(list(b.data)).reshape(tuple(b.shape.dim)) for b in layer.blobs]
        for layer in net.layer
    }

    def conv(x: Tensor, name: str, **kw: int) -> Tensor:
        return torch.relu(F.conv2d(x, *blobs[name], **kw))

    def network(x: Tensor) -> dict[str, Tensor]:
        found = {"conv1": conv(x, "conv1", stride=2)}
        x = F.max_pool2d(found["conv1"], 3, 2, ceil_mode=True)
        for k in range(2, 10):
            x = conv(x, f"fire{k}/conv1x1_1")
            x = torch.cat(
                [conv(x, f"fire{k}/conv1x1_2"), conv(x, f"fire{k}/conv3x3_2", padding=1)], 1
            )
            found[f"fire{k}/concat"] = x
            x = F.max_pool2d(x, 3, 2, ceil_mode=True) if k in (4, 8) else x
        return found

    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("weights", "content", "style", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[160, 320])
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--style-weight", type=float, default=20.0)
    parser.add_argument("--style-scale", type=float, default=1.0)
    parser.add_argument("--tv", type=float, default=2e-5)
    parser.add_argument("--style-taps", nargs="+", default=list(STYLE))
    parser.add_argument("--content-tap", default=CONTENT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    if options.weights.suffix == ".caffemodel":
        network = squeezenet(options.weights)
    else:
        layers = load(options.weights)
        network = lambda x: forward(layers, x)  # noqa: E731
    save(run(network, options), options.output)
    print(f"{options.output}: {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
