"""Operations: one prototxt type = one file = one class of that name, listed in `LAYERS`."""

from __future__ import annotations

from nst.core import Layer
from nst.errors import NetError, did_you_mean
from nst.layers.concat import Concat
from nst.layers.convolution import Convolution
from nst.layers.dropout import Dropout
from nst.layers.euclidean_loss import EuclideanLoss
from nst.layers.event import Event
from nst.layers.gram import Gram
from nst.layers.inner_product import InnerProduct
from nst.layers.input import Input
from nst.layers.lrn import LRN
from nst.layers.parameter import Parameter
from nst.layers.pooling import Pooling
from nst.layers.relu import ReLU
from nst.layers.scalar import Scalar
from nst.layers.softmax import Softmax
from nst.layers.split import Split
from nst.layers.tv_loss import TVLoss

LAYERS: tuple[type[Layer], ...] = (
    Concat,
    Convolution,
    Dropout,
    EuclideanLoss,
    Event,
    Gram,
    InnerProduct,
    Input,
    LRN,
    Parameter,
    Pooling,
    ReLU,
    Scalar,
    Softmax,
    Split,
    TVLoss,
)
"""Every layer type there is."""

_BY_FOLDED_NAME = {layer.type.lower().replace("_", ""): layer for layer in LAYERS}


def layer_class(type_name: str, *, layer: str = "") -> type[Layer]:
    """Returns the class of a prototxt type, in any case and with or without underscores.

    Raises NetError that lists the known types.
    """
    found = _BY_FOLDED_NAME.get(type_name.lower().replace("_", ""))
    if found is None:
        known = [each.type for each in LAYERS]
        raise NetError(
            f"Unknown layer type: {type_name} (known types: {', '.join(known)})."
            f"{did_you_mean(type_name, known)}",
            layer=layer,
        )
    return found


__all__ = ["LAYERS", "layer_class"]
