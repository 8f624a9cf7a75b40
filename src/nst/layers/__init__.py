"""Operations: one prototxt type = one file = one class of that name, listed in `LAYERS`."""

from __future__ import annotations

from nst.core import Layer
from nst.errors import NetError, did_you_mean
from nst.layers.abs_val import AbsVal
from nst.layers.accuracy import Accuracy
from nst.layers.arg_max import ArgMax
from nst.layers.batch_norm import BatchNorm
from nst.layers.batch_reindex import BatchReindex
from nst.layers.bias import Bias
from nst.layers.bnll import BNLL
from nst.layers.clip import Clip
from nst.layers.concat import Concat
from nst.layers.contrastive_loss import ContrastiveLoss
from nst.layers.convolution import Convolution
from nst.layers.crop import Crop
from nst.layers.data import Data
from nst.layers.deconvolution import Deconvolution
from nst.layers.dropout import Dropout
from nst.layers.dummy_data import DummyData
from nst.layers.eltwise import Eltwise
from nst.layers.elu import ELU
from nst.layers.embed import Embed
from nst.layers.euclidean_loss import EuclideanLoss
from nst.layers.event import Event
from nst.layers.exp import Exp
from nst.layers.filter import Filter
from nst.layers.flatten import Flatten
from nst.layers.gram import Gram
from nst.layers.hdf5_data import HDF5Data
from nst.layers.hdf5_output import HDF5Output
from nst.layers.hinge_loss import HingeLoss
from nst.layers.histogram_loss import HistogramLoss
from nst.layers.im2col import Im2col
from nst.layers.image_data import ImageData
from nst.layers.infogain_loss import InfogainLoss
from nst.layers.inner_product import InnerProduct
from nst.layers.input import Input
from nst.layers.log import Log
from nst.layers.lrn import LRN
from nst.layers.lstm import LSTM
from nst.layers.lstm_unit import LSTMUnit
from nst.layers.mask import Mask
from nst.layers.memory_data import MemoryData
from nst.layers.mmd_loss import MMDLoss
from nst.layers.moments import Moments
from nst.layers.moments_loss import MomentsLoss
from nst.layers.mrf_loss import MRFLoss
from nst.layers.multinomial_logistic_loss import MultinomialLogisticLoss
from nst.layers.mvn import MVN
from nst.layers.pad import Pad
from nst.layers.parameter import Parameter
from nst.layers.pooling import Pooling
from nst.layers.power import Power
from nst.layers.prelu import PReLU
from nst.layers.python import Python
from nst.layers.reduction import Reduction
from nst.layers.relative_loss import RelativeLoss
from nst.layers.relu import ReLU
from nst.layers.reshape import Reshape
from nst.layers.rnn import RNN
from nst.layers.scalar import Scalar
from nst.layers.scale import Scale
from nst.layers.sigmoid import Sigmoid
from nst.layers.sigmoid_cross_entropy_loss import SigmoidCrossEntropyLoss
from nst.layers.silence import Silence
from nst.layers.slice import Slice
from nst.layers.softmax import Softmax
from nst.layers.softmax_with_loss import SoftmaxWithLoss
from nst.layers.split import Split
from nst.layers.spp import SPP
from nst.layers.swish import Swish
from nst.layers.tanh import TanH
from nst.layers.temporal_loss import TemporalLoss
from nst.layers.threshold import Threshold
from nst.layers.tile import Tile
from nst.layers.trim import Trim
from nst.layers.tv_loss import TVLoss
from nst.layers.wasserstein_loss import WassersteinLoss
from nst.layers.window_data import WindowData

LAYERS: tuple[type[Layer], ...] = (
    AbsVal,
    Accuracy,
    ArgMax,
    BNLL,
    BatchNorm,
    BatchReindex,
    Bias,
    Clip,
    Concat,
    ContrastiveLoss,
    Convolution,
    Crop,
    Data,
    Deconvolution,
    Dropout,
    DummyData,
    ELU,
    Eltwise,
    Embed,
    EuclideanLoss,
    Event,
    Exp,
    Filter,
    Flatten,
    Gram,
    HDF5Data,
    HDF5Output,
    HingeLoss,
    HistogramLoss,
    Im2col,
    ImageData,
    InfogainLoss,
    InnerProduct,
    Input,
    LRN,
    LSTM,
    LSTMUnit,
    Log,
    MMDLoss,
    MRFLoss,
    MVN,
    Mask,
    MemoryData,
    Moments,
    MomentsLoss,
    MultinomialLogisticLoss,
    PReLU,
    Pad,
    Parameter,
    Pooling,
    Power,
    Python,
    RNN,
    ReLU,
    Reduction,
    RelativeLoss,
    Reshape,
    SPP,
    Scalar,
    Scale,
    Sigmoid,
    SigmoidCrossEntropyLoss,
    Silence,
    Slice,
    Softmax,
    SoftmaxWithLoss,
    Split,
    Swish,
    TVLoss,
    TanH,
    TemporalLoss,
    Threshold,
    Tile,
    Trim,
    WassersteinLoss,
    WindowData,
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
