"""How near our kernels come to the copy rate, on maps of conv1_2's size at 1024 px in fp16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_checks.engine import make_backend, seconds_of
from gpu_checks.stages import Rows, Scale

CHANNELS = 64
MOST_THREADS = 2048 * 256
"""Of a grid that strides: enough for every multiprocessor, few enough to share what a block loads."""


@dataclass(frozen=True)
class Case:
    """One launch, and the bytes that it cannot avoid to move."""

    kernel: str
    threads: int
    nbytes: int
    arguments: tuple[int | float, ...]


def kernel_rates(scale: Scale, rows: Rows) -> None:
    backend: Any = make_backend(scale, "fp16")
    kept: list[Any] = []

    def memory(nbytes: int) -> int:
        """The address of zeros that live as long as the stage."""
        kept.append(backend.device.upload(np.zeros(nbytes, np.uint8)))
        return int(backend.device.address(kept[-1]))

    for case in _cases(scale.size(1024), memory):
        launch = _bound(backend.device.kernels.launch, case)
        seconds = seconds_of(backend, launch)
        rows.add(kernel=case.kernel, us=seconds * 1e6, gb_per_s=case.nbytes / seconds / 1e9)


def _bound(launch: Callable[..., None], case: Case) -> Callable[[], None]:
    return lambda: launch(case.kernel, "fp16", case.threads, *case.arguments)


def _cases(side: int, memory: Callable[[int], int]) -> Iterator[Case]:
    places, half = side * side, (side + 1) // 2
    count, pooled = places * CHANNELS, half * half * CHANNELS
    groups, pooled_groups = count // 8, pooled // 8
    x, y, small, bits = memory(2 * count), memory(2 * count), memory(2 * pooled), memory(groups)
    winner, positive = memory(2 * pooled_groups), memory(pooled_groups)
    codes, picture, filters = 3 * pooled_groups, memory(12 * places), memory(4 * 64 * 27)
    sums, sizes = memory(8 * 1024), (1, side, side, CHANNELS, half, half)
    quads, image = side * -(-side // 4), (1, side, side, 64, CHANNELS)

    yield Case("combine", groups, 4 * count, (x, 1.0, 0, 0.0, 0, 0, 0, 0.0, y, groups))
    gated = (x, 1.0, y, 1.0, 0, y, 0, 0.0, x, groups)
    yield Case("combine", groups, 6 * count, gated)
    yield Case("mask_bits", groups, 2 * count + groups, (x, bits, groups))
    through = 2 * count + 2 * pooled + codes
    pool = (x, small, winner, positive, *sizes)
    yield Case("max_pool_2x2", pooled_groups, through, pool)
    back = (small, winner, positive, x, *sizes)
    yield Case("max_pool_2x2_backward", pooled_groups, through, back)
    yield Case("squared_distance", 1024 * 256, 4 * count, (x, 1.0, y, 1.0, sums, groups))
    threads, lanes = (min(count, MOST_THREADS) for count in (quads * CHANNELS // 8, quads * 8))
    edge = 2 * count + 12 * places
    yield Case("first_conv", threads, edge, (picture, filters, 0, x, *image, 1, 1.0))
    yield Case("first_conv_backward", lanes, edge, (x, 0, filters, picture, *image, 1.0, 0))
    tv = (picture, sums, 3, side, side, 2.0, 0.0, 0)
    yield Case("tv_loss", 1024 * 256, 12 * places, tv)
    pixels = 3 * places
    adam = (picture, y, x, small, pixels, 0.1, 0.9, 0.999, 1e-8)
    yield Case("adam_step", pixels, 32 * pixels, adam)
