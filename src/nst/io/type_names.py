"""The layer types by their written names, and how other spellings find them."""

from __future__ import annotations

from collections.abc import Iterable

CAFFE_TYPES = (
    ("Input", "Parameter", "DummyData", "Data", "ImageData", "WindowData", "HDF5Data")
    + ("MemoryData", "HDF5Output", "Python")
    + ("Convolution", "Deconvolution", "Im2col", "Pooling", "SPP", "Crop", "LRN")
    + ("RNN", "LSTM", "LSTMUnit", "InnerProduct", "Embed", "Dropout")
    + ("BatchNorm", "MVN", "Scale", "Bias")
    + ("ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "AbsVal", "BNLL", "Power", "Exp", "Log")
    + ("Threshold", "Clip", "Swish")
    + ("Flatten", "Reshape", "Slice", "Concat", "Split", "Eltwise", "Tile", "Reduction")
    + ("ArgMax", "Softmax", "Silence", "Filter", "BatchReindex")
    + ("SoftmaxWithLoss", "EuclideanLoss", "HingeLoss", "SigmoidCrossEntropyLoss")
    + ("MultinomialLogisticLoss", "InfogainLoss", "ContrastiveLoss", "Accuracy")
)
STYLE_TYPES = (
    *("Gram", "Event", "Scalar", "TVLoss"),
    *("Moments", "WassersteinLoss", "MomentsLoss", "RelativeLoss", "MMDLoss", "Pad"),
    *("HistogramLoss", "MRFLoss", "TemporalLoss"),
)
LAYER_TYPES = CAFFE_TYPES + STYLE_TYPES
SOLVER_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "LBFGS")

# Spellings that differ by more than case and underscores: V1's word, and MyCaffe's transposed letters.
_ALIASES = {"softmaxloss": "SoftmaxWithLoss", "lbgfs": "LBFGS"}


def canonical_type(name: str, known: Iterable[str]) -> str:
    """Returns the known type that `name` spells in any case and with any underscores, else `name`.

    EUCLIDEAN_LOSS, euclideanloss and EuclideanLoss are one type (MyCaffe Layer.Create).
    """
    types = tuple(known)
    if name in types:
        return name
    folded = {_fold(word): word for word in types}
    alias = _ALIASES.get(_fold(name), "")
    return folded.get(_fold(alias or name), name)


def _fold(name: str) -> str:
    return name.replace("_", "").lower()
