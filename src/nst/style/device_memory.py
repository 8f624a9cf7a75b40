"""Whether a run fits into the memory of a device that compiles whole nets, told before any is taken.

The painting net of the largest size is compiled for the device, but without it: that says what it will take.
Beside it lie the vectors of the solver. Memory is linear in the number of pixels, so two compilations of
small sizes give the largest one that fits.
"""

from __future__ import annotations

import dataclasses
import logging

from nst.backend import get_backend
from nst.core import TEST, RandomSource
from nst.errors import UsageError
from nst.net import Net
from nst.proto import SolverParameter
from nst.solvers import LBFGS, solver_class
from nst.style.augmented_net import augmented_net
from nst.style.job import StyleJob
from nst.style.painter import wanted_corrections
from nst.style.schedule import SMALLEST_SIDE

log = logging.getLogger("nst.style")

FEWEST_PAIRS = 5
"""Below this L-BFGS is hardly better than steepest descent; a smaller size is the better choice."""

RESERVE = 0.1
"""Share of the free memory that is left alone, for the scratch memory of convolutions too."""

_VECTORS = 8
"""Pictures in fp32 that solver and net hold beside the history: values, gradients, moments, trial points."""


def fitted_on_device(job: StyleJob) -> StyleJob:
    """The job, with a shorter history where the device's memory is short.

    Raises UsageError, with the largest size that fits, if no history makes it fit.
    """
    free = round((job.backend.free_bytes() or 0) * (1 - RESERVE))
    largest = max(job.stages, key=lambda stage: stage.size)
    wanted = min(wanted_corrections(job.settings), largest.iterations) if _remembers(job) else 0
    net, picture = _bytes_at(job, largest.size)
    room = (free - net) // (2 * picture)
    if room >= wanted:
        return job
    if room >= min(FEWEST_PAIRS, wanted) and wanted:
        return _with_pairs(job, room, wanted)
    pairs = min(FEWEST_PAIRS, wanted)
    raise UsageError(
        f"memory: the run would not fit (needs {_gb(net + 2 * pairs * picture)} of the GPU, {_gb(free)} "
        f"are free). The largest size that fits is {_largest_size(job, free, pairs)}"
    )


def _bytes_at(job: StyleJob, size: int) -> tuple[int, int]:
    """(bytes of net and solver without history, bytes of one picture) at a size."""
    shape = job.shape_at(size)
    param = augmented_net(job.net, job.objective, shape)
    # Shapes are all that counts: the host's blobs never get memory, but for the weights.
    net = Net(param, backend=get_backend("numpy"), phase=TEST, rng=RandomSource(0))
    layers = net.program_layers()
    needed = job.backend.program_bytes(layers) if layers is not None else None
    picture = 4 * 3 * shape[0] * shape[1]
    if needed is None:  # by the layers' own code: every value and gradient is kept
        needed = 4 * 2 * sum(blob.count for blob in net.blobs.values())
    return needed + _VECTORS * picture, picture


def _largest_size(job: StyleJob, free: int, pairs: int) -> int:
    """The largest size below the wanted one that fits, by the line through two small sizes."""
    points = []
    for size in (128, 256):
        net, picture = _bytes_at(job, size)
        points.append((picture, net + 2 * pairs * picture))
    (x0, y0), (x1, y1) = points
    slope = (y1 - y0) / max(1, x1 - x0)
    low, high = SMALLEST_SIDE, max(stage.size for stage in job.stages)
    while low < high:
        middle = (low + high + 1) // 2
        height, width = job.shape_at(middle)
        fits = y0 + slope * (12 * height * width - x0) <= free
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _with_pairs(job: StyleJob, pairs: int, wanted: int) -> StyleJob:
    settings = SolverParameter()
    settings.CopyFrom(job.settings)
    settings.lbfgs_corrections = pairs
    note = f"memory is short: L-BFGS remembers {pairs} pairs instead of {wanted}"
    log.warning(note)
    return dataclasses.replace(job, settings=settings, notes=(*job.notes, note))


def _remembers(job: StyleJob) -> bool:
    """Whether the rule is an L-BFGS, which is what paints when the settings name none."""
    named = job.settings.HasField("type")
    return not named or solver_class(job.settings.type) is LBFGS


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
