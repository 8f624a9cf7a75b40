"""WindowData: batches of windows cut out of pictures, foreground and background mixed, for detectors.

Tops      data (batch_size, C, crop_size, crop_size), label (batch_size,): class, 0 for background
Params    window_data_param { source: window file  root_folder = ""  batch_size  fg_threshold = 0.5: overlap
          from which a window is foreground  bg_threshold = 0.5: below which it is background
          fg_fraction = 0.25: share of foreground in a batch  context_pad = 0: pixels of context in the crop
          crop_mode = "warp" | "square"  cache_images = false: keep the files in memory }
          transform_param { crop_size  mirror  scale  mean_file | mean_value }
Gradient  none is needed
Errors    no window file, a line that is none, no crop_size, no window of a kind that is asked for (setup); a
          picture that cannot be read (forward)
Source    Girshick et al. 2014 (arXiv 1311.2524); Caffe WindowDataLayer
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nst.core import Arity, Shape
from nst.layers.batch_source import BatchSource, Values
from nst.layers.sources.blob_file import read_blob_file
from nst.layers.sources.pictures import decode_picture, read_bytes
from nst.layers.sources.randomness import new_stream
from nst.layers.sources.windows import Window, cut_window, read_window_file


class WindowData(BatchSource):
    type = "WindowData"
    tops = Arity.exactly(2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p, transform = self.param.window_data_param, self.param.transform_param
        self.batch_size = self.positive("batch_size", p.batch_size)
        self.crop_size = self.positive("transform_param.crop_size", transform.crop_size)
        if p.crop_mode not in ("warp", "square"):
            raise self.net_error(
                f"unknown crop_mode (got {p.crop_mode!r}, expected warp or square)"
            )
        if 2 * p.context_pad >= self.crop_size:
            raise self.net_error(
                f"context_pad leaves nothing of the crop (got {p.context_pad} of {self.crop_size})"
            )
        self.pictures, windows = read_window_file(p.source, layer=self.name)
        self.foreground = [w for w in windows if w.overlap >= p.fg_threshold]
        self.background = [
            w for w in windows if w.overlap < p.fg_threshold and w.overlap < p.bg_threshold
        ]
        self.wanted_foreground = int(self.batch_size * p.fg_fraction)
        self._check_windows()
        self.mean = self._read_mean()
        self.cache: dict[int, bytes] = {}
        self.stream = new_stream(self.context.rng)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        data = (self.batch_size, self.pictures[0].channels, self.crop_size, self.crop_size)
        return self.tops_of(data, self.batch_size)

    def next_batch(self) -> list[Values]:
        background = self.batch_size - self.wanted_foreground
        picked = [self._draw(self.background, is_foreground=False) for _ in range(background)]
        picked += [
            self._draw(self.foreground, is_foreground=True) for _ in range(self.wanted_foreground)
        ]
        data, labels = zip(*picked, strict=True)
        return [np.stack(data), np.asarray(labels, np.float32)]

    def _draw(self, windows: list[Window], *, is_foreground: bool) -> tuple[Values, int]:
        """One random window, cut out and transformed, and its label."""
        p, transform = self.param.window_data_param, self.param.transform_param
        window = windows[int(self.stream.words(1)[0]) % len(windows)]
        mirrored = transform.mirror and int(self.stream.words(1)[0]) % 2 == 1
        values, inside = cut_window(
            self._picture(window.picture),
            window,
            self.crop_size,
            context_pad=p.context_pad,
            is_square=p.crop_mode == "square",
            is_mirrored=mirrored,
        )
        # outside the picture stays 0: the mean is taken off only where there is a picture
        data = (values - self.mean * inside) * transform.scale
        return data.astype(np.float32), window.label if is_foreground else 0

    def _picture(self, index: int) -> Values:
        """Picture number `index` as (C, H, W), 0-255."""
        path = Path(self.param.window_data_param.root_folder + self.pictures[index].path)
        content = self.cache.get(index) or read_bytes(path)
        if self.param.window_data_param.cache_images:
            self.cache[index] = content
        return decode_picture(content, is_color=True, path=str(path))

    def _read_mean(self) -> Values:
        """Mean to subtract, (C or 1, crop_size or 1, crop_size or 1)."""
        transform = self.param.transform_param
        if transform.mean_file and transform.mean_value:
            raise self.net_error("Cannot specify mean_file and mean_value at the same time")
        if not transform.mean_file:
            return np.asarray(list(transform.mean_value) or [0.0]).reshape(-1, 1, 1)
        stored = read_blob_file(transform.mean_file)
        mean: Values = stored.reshape(stored.shape[-3:])
        start = (mean.shape[-1] - self.crop_size) // 2
        if mean.shape[-1] != mean.shape[-2] or start < 0:
            raise self.net_error(
                f"the mean must be a square not smaller than the crop (got {mean.shape}, crop_size "
                f"{self.crop_size})"
            )
        centre = slice(start, start + self.crop_size)
        return np.asarray(mean[:, centre, centre])

    def _check_windows(self) -> None:
        wanted = {
            "foreground": (self.foreground, self.wanted_foreground),
            "background": (self.background, self.batch_size - self.wanted_foreground),
        }
        for kind, (windows, number) in wanted.items():
            if number and not windows:
                raise self.net_error(f"the window file has no {kind} windows (got 0)")
        wrong = [w for w in self.foreground if w.label < 1]
        if wrong:
            raise self.net_error(
                f"a foreground window needs a class above 0 (got {wrong[0].label} for picture "
                f"{wrong[0].picture})"
            )
