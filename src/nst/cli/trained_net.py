"""The net that `nst test` and `nst extract` run: description, state, weights and backend from flags."""

from __future__ import annotations

import argparse

from nst.cli.backend_choice import choose_backend
from nst.cli.caffe_flags import apply_gpu_flag
from nst.core import TEST
from nst.io.known_models import find_weights
from nst.pycaffe import Net


def open_trained_net(args: argparse.Namespace) -> tuple[Net, str]:
    """Returns the net in phase TEST with its weights, and what it runs on. Raises NstError."""
    apply_gpu_flag(args)
    backend, reason = choose_backend(args)
    net = Net(
        args.model,
        phase=TEST,
        level=args.level,
        stages=args.stage,
        backend=backend,
        allow_python=args.allow_python,
    )
    for name in args.weights:
        net.copy_from(find_weights(name, args.model))
    return net, reason
