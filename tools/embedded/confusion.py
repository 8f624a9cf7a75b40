"""Which family of textures is taken for which: accuracies and a confusion table over the held-out tiles.

    python tools/embedded/confusion.py tools/embedded/train_val.prototxt \\
        out/embedded/run_iter_5500.caffemodel --plot out/embedded/confusion.png

A tile counts as right if its own class is named, by the deepest head. The table counts families: row
is what was drawn, column what was named, in percent of the row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from canvases import FAMILIES
from network import TEXTURE_HEADS
from numpy.typing import NDArray

from nst.io.atomic import write_atomically
from nst.pycaffe import TEST, Net

NAMES = list(dict.fromkeys(painter.__name__ for painter in FAMILIES))
DEEPEST = list(TEXTURE_HEADS)[-1].removeprefix("conv")


def family(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the family, in NAMES, that each class belongs to."""
    of_class = np.array([NAMES.index(painter.__name__) for painter in FAMILIES])
    return of_class[label % len(FAMILIES)]


def answers(net: Path, snapshot: Path, batches: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and named class of the tiles of so many test batches."""
    test = Net(str(net), phase=TEST, weights=str(snapshot), allow_python=True)
    labels, named = [], []
    for _ in range(batches):
        test.forward_from_to()
        labels.append(test.blobs["label"].to_host().astype(np.int64))
        named.append(test.blobs[f"texture{DEEPEST}"].to_host().argmax(1))
    return np.concatenate(labels), np.concatenate(named)


def confusion(labels: NDArray[np.int64], named: NDArray[np.int64]) -> NDArray[np.float64]:
    """Percent of the tiles of family `row` that were taken for a class of family `column`."""
    counts = np.zeros((len(NAMES), len(NAMES)))
    np.add.at(counts, (family(labels), family(named)), 1)
    table: NDArray[np.float64] = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return table


def report(labels: NDArray[np.int64], named: NDArray[np.int64]) -> str:
    """A Markdown table: family, classes, tiles named rightly, tiles whose family was named rightly."""
    own, table = labels == named, confusion(labels, named)
    lines = ["| family | classes | class named | family named |", "|---|---|---|---|"]
    for k, name in enumerate(NAMES):
        mine = family(labels) == k
        if mine.any():
            count = len(np.unique(labels[mine]))
            lines.append(f"| {name} | {count} | {own[mine].mean():.0%} | {table[k, k]:.0f}% |")
    right = (family(labels) == family(named)).mean()
    lines.append(f"| all | {len(np.unique(labels))} | {own.mean():.1%} | {right:.1%} |")
    return "\n".join(lines)


def plot(table: NDArray[np.float64], path: Path) -> None:
    """The table as a picture: one square per pair of families."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 7), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(np.sqrt(table), cmap="magma", vmin=0, vmax=10)
    for row, column in zip(*np.nonzero(table >= 1), strict=True):
        tone = "black" if table[row, column] > 50 else "white"
        axes.text(
            column,
            row,
            f"{table[row, column]:.0f}",
            ha="center",
            va="center",
            color=tone,
            fontsize=6,
        )
    axes.set_xticks(range(len(NAMES)), NAMES, rotation=90, fontsize=8)
    axes.set_yticks(range(len(NAMES)), NAMES, fontsize=8)
    axes.set(xlabel="named", ylabel="drawn", title="held-out tiles by family, percent of the row")
    figure.savefig(path, dpi=110)


def csv(table: NDArray[np.float64]) -> str:
    rows = [
        ",".join([name, *(f"{v:.1f}" for v in row)]) for name, row in zip(NAMES, table, strict=True)
    ]
    return "\n".join([",".join(["drawn", *NAMES]), *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("net", type=Path)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("--iterations", type=int, default=48, help="test batches; default: 48")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    labels, named = answers(options.net, options.snapshot, options.iterations)
    print(report(labels, named))
    if options.csv:
        write_atomically(options.csv, csv(confusion(labels, named)).encode())
    if options.plot:
        plot(confusion(labels, named), options.plot)


if __name__ == "__main__":
    main()
