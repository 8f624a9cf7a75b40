"""pycaffe's door: its names over the house, so that a Caffe script feels at home.

    import nst.pycaffe as caffe
    from nst.pycaffe import layers as L, params as P

`python -m nst.pycaffe script.py` runs a script that says `import caffe` unchanged. Everything that
`docs/coming-from-caffe.md` lists is here; failures are exceptions of `nst.errors`, never aborts.
"""

from __future__ import annotations

import nst.io
import nst.proto
from nst.core import TEST, TRAIN
from nst.layers.python import UserLayer as Layer
from nst.pycaffe import io, net_spec, proto
from nst.pycaffe.classifier import Classifier
from nst.pycaffe.detector import Detector
from nst.pycaffe.glog import init_log, log
from nst.pycaffe.mode import (
    allow_python_layers,
    layer_type_list,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_random_seed,
)
from nst.pycaffe.net import Net
from nst.pycaffe.net_spec import NetSpec, layers, params, to_proto
from nst.pycaffe.script import install_as_caffe
from nst.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    LBFGSSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Classifier",
    "Detector",
    "LBFGSSolver",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "allow_python_layers",
    "get_solver",
    "init_log",
    "install_as_caffe",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "to_proto",
]


def _lend() -> None:
    """Puts pycaffe's names beside the modules of nst.io and nst.proto.

    A script that says `import nst as caffe` finds caffe.io.Transformer and caffe.proto.caffe_pb2 that
    way. The lower floors know nothing of it; `nst.layers` is left alone, since its classes bear L's names.
    """
    for name in io.__all__:
        setattr(nst.io, name, getattr(io, name))
    setattr(nst.proto, "caffe_pb2", proto.caffe_pb2)  # noqa: B010  # mypy: no such attribute


_lend()
