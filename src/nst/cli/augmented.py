"""The augmented net as text, before a run or without one: shapes only, no weights, no pictures."""

from __future__ import annotations

from pathlib import Path

from nst.backend import get_backend
from nst.core import TEST, RandomSource
from nst.errors import ImageError
from nst.io.images import read_picture
from nst.io.resample import fit_longest_side
from nst.net import Net
from nst.proto import NetParameter, SolverParameter
from nst.style import augment
from nst.style.augment_regions import input_shapes
from nst.style.feature_net import image_blob
from nst.style.job import load_net
from nst.style.objective import Objective
from nst.style.objective_settings import read_objective
from nst.style.schedule import read_schedule


def augmented_net(net: NetParameter, objective: Objective, size: tuple[int, int]) -> NetParameter:
    """The net that paints a picture of `size` (height, width), as step 5 makes it."""
    extraction = augment.for_extraction(net, objective)
    probe = Net(extraction, backend=get_backend("numpy"), phase=TEST, rng=RandomSource(0))
    image = probe.blobs[image_blob(extraction)]
    image.reshape(1, image.shape[1], *size)
    probe.reshape()
    shapes = {name: blob.shape for name, blob in probe.blobs.items()}
    return augment.for_solving(
        extraction,
        objective,
        {name: shapes[name.partition("@")[0]] for name in augment.saved_blobs(objective)},
        image.shape,
        {layer.name: len(layer.params) for layer in probe.layers},
        input_shapes(objective, shapes, image.shape),
    )


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
