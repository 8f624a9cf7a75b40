"""The augmented net of a run before the run: shapes only, no weights, no pictures."""

from __future__ import annotations

from nst.backend import get_backend
from nst.core import TEST, RandomSource
from nst.net import Net
from nst.proto import NetParameter
from nst.style import augment
from nst.style.augment_regions import input_shapes
from nst.style.feature_net import image_blob
from nst.style.objective import Objective


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
