"""Which kernel computes a convolution, and its filters in the form that the kernel reads.

first     a picture of at most 4 channels, read in place (planar)
winograd  3x3, stride 1: F(6x6) or F(4x4), whichever needs fewer products; in bf16 always F(4x4), whose
          transforms enlarge the rounding less
gather    everything else, 1x1 included
"""

from __future__ import annotations

import ctypes as ct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nst.backend.cpu.engine import BLOCK, Blocked, Engine, FloatArray, GateBits, address, blocks
from nst.backend.cpu.library import BF16, EXPANDED, TAPS, Conv
from nst.backend.geometry import ConvGeometry

PICTURE_CHANNELS = 4
"""Up to so many input channels are read in place instead of padding them to 16."""

EXPANDED_PAIRS = 256 * 512
"""Winograd filters of up to so many channel pairs are kept expanded (4 or 7 times the weights); larger ones
are expanded on the fly, which costs a few percent and halves the memory of a VGG."""


@dataclass(frozen=True)
class Problem:
    """Sizes of one convolution without groups."""

    images: int
    in_channels: int
    out_channels: int
    in_extent: tuple[int, int]
    out_extent: tuple[int, int]
    geometry: ConvGeometry

    @property
    def reads_picture(self) -> bool:
        """Whether the input stays planar."""
        return self.in_channels <= PICTURE_CHANNELS

    def winograd_tile(self, backward: bool, *, bf16: bool = False) -> int:
        """Side of the Winograd output tile, or 0 if the gather kernel is the better one."""
        g = self.geometry
        if g.kernel != (3, 3) or g.stride != (1, 1) or g.dilation != (1, 1) or max(g.pad) > 2:
            return 0
        height, width = self.in_extent if backward else self.out_extent
        # equal costs: with many channels the smaller one, whose filters are quicker to expand
        many = max(self.in_channels, self.out_channels) >= 512
        costs = {0: 9 * height * width}
        for tile in (4,) if bf16 else (4, 6) if many else (6, 4):
            costs[tile] = -(-height // tile) * -(-width // tile) * (tile + 2) ** 2 * 5 // 4
        return min(costs, key=lambda tile: costs[tile])

    def native(self, in_stride: int, out_stride: int) -> Conv:
        """The C structure, for arrays with these image strides (0: planar or unused)."""
        g = self.geometry
        return Conv(
            *(self.images, self.in_channels, self.out_channels, *self.in_extent, *self.out_extent),
            *(*g.kernel, *g.stride, *g.pad, *g.dilation, in_stride, out_stride),
        )


@dataclass(frozen=True)
class Packed:
    """Filters in the order in which a kernel reads them."""

    array: FloatArray
    address: int


Packs = dict[tuple[object, ...], Packed]
"""Packed filters of one set of weights, by form; shared by every Convolution that uses the weights."""

Weights = Callable[[], FloatArray]
"""Gives the weights (K, C, kh, kw) when they have to be packed."""


class Convolution:
    """Runs one Problem in both directions; filters are packed when first used and kept in `packs`.

    bf16: the operands of Winograd products are rounded to it; all other kernels know fp32 only.
    """

    def __init__(
        self, engine: Engine, problem: Problem, packs: Packs, part: int = 0, *, bf16: bool = False
    ) -> None:
        self.engine, self.problem = engine, problem
        self.packs = packs
        self._tiles = [problem.winograd_tile(backward, bf16=bf16) for backward in (False, True)]
        pairs = blocks(problem.in_channels) * blocks(problem.out_channels) * BLOCK**2
        self._form = BF16 if bf16 else EXPANDED if pairs <= EXPANDED_PAIRS else TAPS
        self._sizes = ct.byref(problem.native(0, 0))
        self._strided: dict[tuple[int, int], Any] = {}
        kinds = ["picture"] * 2 if problem.reads_picture else self._tiles
        self._keys = [
            (engine.isa, part, kind, self._form if kind else None, backward)
            for backward, kind in enumerate(kinds)
        ]

    def forward(
        self,
        source: FloatArray | Blocked,
        weights: Weights,
        bias: int | None,
        target: Blocked,
        gate: GateBits | None,
        flags: int,
    ) -> None:
        """target = conv(source); `source` is planar (N, C, H, W) if the problem reads a picture.

        bias is the address of values padded to whole blocks; gate gets where the results are positive. With
        the flags RELU and POOLED, for a problem that writes pooled maps, target is the 2x2 maximum pooling of
        the result, and gate gets its winners.
        """
        bits = None if gate is None else ct.byref(gate.native)
        packed = self._filters(weights, 0)
        if isinstance(source, Blocked):
            sizes = self._sizes_for(source.image_stride, target.image_stride)
            self._run(0, sizes, source.address, bits, packed, bias, target.address, flags)
        else:
            sizes = self._sizes_for(0, target.image_stride)
            operands = (address(source), bits, packed, bias, target.address)
            self.engine.call("nst_first_forward", sizes, *operands, flags)

    def backward(
        self,
        gradient: Blocked,
        gate: GateBits | None,
        weights: Weights,
        target: FloatArray | Blocked,
        flags: int,
    ) -> None:
        """target = gradient of the input; where the gate is closed the output's gradient counts as zero.

        With the flag POOLED, for a problem that reads pooled gradients, `gradient` is that of the output's
        2x2 maximum pooling.
        """
        packed = self._filters(weights, 1)
        bits = None if gate is None else ct.byref(gate.native)
        if isinstance(target, Blocked):
            sizes = self._sizes_for(target.image_stride, gradient.image_stride)
            self._run(1, sizes, gradient.address, bits, packed, None, target.address, flags)
        else:
            sizes = self._sizes_for(0, gradient.image_stride)
            self.engine.call(
                "nst_first_backward", sizes, gradient.address, bits, packed, address(target)
            )

    @property
    def writes_pooled(self) -> bool:
        """Whether forward can pool what it writes."""
        return self._tiles[0] > 0 and not self.problem.reads_picture

    @property
    def reads_pooled(self) -> bool:
        """Whether backward takes the gradient of the output's pooled half."""
        return self._tiles[1] > 0 and not self.problem.reads_picture

    def weight_gradient(
        self,
        source: FloatArray | Blocked,
        gradient: Blocked,
        weights: FloatArray | None,
        bias: FloatArray | None,
    ) -> None:
        """Adds to the gradients of the weights (K, C, kh, kw) and of the bias (K)."""
        targets = gradient.address, address(weights), address(bias)
        if isinstance(source, Blocked):
            sizes = self._sizes_for(source.image_stride, gradient.image_stride)
            self.engine.call("nst_conv_weight_gradient", sizes, source.address, *targets)
        else:
            sizes = self._sizes_for(0, gradient.image_stride)
            self.engine.call("nst_first_weight_gradient", sizes, address(source), *targets)

    def _run(self, backward: int, sizes: object, *operands: object) -> None:
        tile = self._tiles[backward]
        if tile:
            self.engine.call("nst_winograd", sizes, tile, backward, self._form, *operands)
        else:
            self.engine.call("nst_conv_run", sizes, backward, *operands)

    def _sizes_for(self, in_stride: int, out_stride: int) -> Any:
        """The C structure for arrays with these image strides, made once."""
        sizes = self._strided.get((in_stride, out_stride))
        if sizes is None:
            sizes = ct.byref(self.problem.native(in_stride, out_stride))
            self._strided[in_stride, out_stride] = sizes
        return sizes

    def _filters(self, weights: Weights, backward: int) -> int:
        """Where the filters lie, packed now if they are not yet."""
        key = self._keys[backward]
        packed = self.packs.get(key)
        if packed is None:
            array = self._pack(weights(), backward)
            packed = self.packs[key] = Packed(array, address(array) or 0)
        return packed.address

    def _pack(self, weights: FloatArray, backward: int) -> FloatArray:
        library, sizes, tile = self.engine.library, self._sizes, self._tiles[backward]
        if self.problem.reads_picture:
            packed = self.engine.array((library.nst_first_filter_floats(sizes, backward),))
            self.engine.call("nst_first_pack", sizes, backward, address(weights), address(packed))
        elif tile:
            floats = library.nst_winograd_filter_floats(sizes, tile, backward, self._form)
            packed = self.engine.array((floats,))
            self.engine.call(
                "nst_winograd_pack",
                sizes,
                tile,
                backward,
                self._form,
                address(weights),
                address(packed),
            )
        else:
            packed = self.engine.array((library.nst_conv_filter_floats(sizes),))
            self.engine.call("nst_conv_pack", sizes, backward, address(weights), address(packed))
        return packed
