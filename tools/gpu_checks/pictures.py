"""The pictures that the checks paint with: drawn from a power law, as those of the world are.

Pictures of independent pixels would not do: all have the same statistics, so that every loss is the small
difference of large numbers, and half precision looks worse than it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STYLE, CONTENT, OTHER = 1, 2, 3


def picture(size: int, seed: int) -> NDArray[np.float32]:
    """(1, 3, size, size) with mean 0 and deviation 1, whose amplitudes fall with the frequency."""
    rng = np.random.default_rng(seed)
    along = np.fft.fftfreq(size)
    frequency = np.hypot(along[:, np.newaxis], along)
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.standard_normal((3, size, size))) / frequency
    spectrum[:, 0, 0] = 0
    values = np.fft.ifft2(spectrum).real
    return (values / values.std())[np.newaxis].astype(np.float32)


def start(size: int) -> NDArray[np.float32]:
    """Near the content, as a painting under way is."""
    return np.float32(0.7) * picture(size, CONTENT) + np.float32(0.3) * picture(size, OTHER)
