"""What a probe of a painting job might have measured (nst.style.probe)."""

from __future__ import annotations

from nst.style.probe import PAIRS, Measurement

PAIR_BYTES = 2 * 3 * 4
"""One pair of L-BFGS: two float32 vectors of 3 values per pixel."""


def measured(pixels: int, extra: int = 0) -> Measurement:
    """What a job would measure that takes 100 kB + 3000 B per pixel, and 0.01 s + 1 us per pixel.

    `extra`: passes beyond one for each of its five iterations.
    """
    held = PAIRS * PAIR_BYTES * pixels
    return Measurement(
        size=round(pixels**0.5),
        pixels=pixels,
        iterations=5,
        evaluations=5 + extra,
        setup_s=0.5 + 2e-6 * pixels,
        evaluation_s=0.01 + 1e-6 * pixels,
        delivery_s=0.1 + 1e-7 * pixels,
        peak_bytes=100_000 + 3000 * pixels + held,
        steady_bytes=100_000 + 2000 * pixels + held,
    )
