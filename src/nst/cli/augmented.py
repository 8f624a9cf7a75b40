"""The augmented net as text, before a run or without one: shapes only, no weights, no pictures."""

from __future__ import annotations

from pathlib import Path

from nst.errors import ImageError
from nst.io.images import read_picture
from nst.io.resample import fit_longest_side
from nst.proto import NetParameter, SolverParameter
from nst.style.augmented_net import augmented_net
from nst.style.job import load_net
from nst.style.objective_settings import read_objective
from nst.style.schedule import read_schedule


def augmented_net_of(settings: SolverParameter) -> NetParameter:
    """The same for a solver file whose pictures and weights need not be there.

    A content picture that can be read gives the shape, else the picture is a square.
    """
    net = load_net(settings, {})
    style = settings.style_transfer_param
    shape = (512, 512)
    if style.content.image and Path(style.content.image).is_file():
        try:
            height, width = read_picture(style.content.image).rgb.shape[:2]
        except ImageError:
            height, width = shape
        shape = (height, width)
    if not settings.max_iter:
        settings = _copy(settings)
        settings.max_iter = 1
    size = read_schedule(settings, max(shape))[-1].size
    return augmented_net(
        net, read_objective(style, net), fit_longest_side(shape, size, enlarge=True)
    )


def _copy(settings: SolverParameter) -> SolverParameter:
    copy = SolverParameter()
    copy.CopyFrom(settings)
    return copy
