"""Small style jobs on the tiny net, of every solver, for the tests of what happens around a run."""

from __future__ import annotations

import numpy as np
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import Backend
from nst.io.prototxt import parse_solver
from nst.style.job import StyleJob, load_job
from nst.style.settings import merged

SETTINGS = """
style_transfer_param {
  content { layer { name: "conv3_1" } }
  style { layer { name: "conv1_1" } layer { name: "relu2_1" weight: 2 } }
  gram_normalize: HW style_weight: 0.01 content_weight: 0.1
  sizes: [16, 24] iterations: [14, 16]
  init { from: NOISE }
  transform_param { mean_value: 128 }
}
"""
KINDS = {
    "lbfgs": 'type: "LBFGS" lbfgs_corrections: 5',
    "projected": 'type: "LBFGS" lbfgs_corrections: 5 style_transfer_param { clamp: true }',
    "fixed": 'type: "LBFGS" style_transfer_param { line_search: NONE style_weight: 1e-5 }',
    "adam": 'type: "Adam" base_lr: 2 momentum: 0.9',
    "sgd": 'type: "SGD" base_lr: 1e-5 momentum: 0.9 lr_policy: "multistep" stepvalue: [5, 9] gamma: 0.5',
    "nesterov": 'type: "Nesterov" base_lr: 1e-5 momentum: 0.9',
    "adagrad": 'type: "AdaGrad" base_lr: 5 delta: 1e-6',
    "rmsprop": 'type: "RMSProp" base_lr: 2 rms_decay: 0.9 delta: 1e-6 lr_policy: "inv" gamma: 0.1 power: 0.7',
    "adadelta": 'type: "AdaDelta" base_lr: 50 momentum: 0.9 delta: 1e-3',
    "averaged": 'type: "Adam" base_lr: 2 momentum: 0.9 style_transfer_param { average_iterates: 6 }',
    "carried": """type: "Adam" base_lr: 2 momentum: 0.9 momentum2: 0.99 style_transfer_param {
        average_decay: 0.8 carry_moments: true clamp: true }""",
    "torch": 'type: "LBFGS" style_transfer_param { line_search: TORCH style_weight: 1e-5 }',
    "wasserstein": """type: "LBFGS" lbfgs_corrections: 5 style_transfer_param {
        style_statistic: W2 style_loss: RELATIVE content_loss: RELATIVE clamp: true padding: REPLICATE
        style_weight: 1 content_weight: 1 }""",
    "regions": """type: "LBFGS" lbfgs_corrections: 5 style_transfer_param {
        style { mask: "half" style_mask: "part" } content { mask: "fade" } }""",
}
"""Solver settings by name; all paint 14 iterations at 16 px and 16 at 24 px."""

ITERATIONS = 30
CONTENT, STYLE = picture(36, 48, 1), picture(30, 20, 2)
MASKS = {
    "half": np.repeat([[1.0, 0.0]], 18, axis=0).repeat(12, axis=1),
    "fade": np.linspace(0.2, 1, 12).reshape(3, 4),
    "part": np.linspace(0.2, 1, 6).reshape(3, 2),
}


def interrupted_job(kind: str, backend: Backend, extra: str = "") -> StyleJob:
    """A job of two sizes with the solver `kind`, and `extra` settings over it."""
    settings = merged(
        merged(parse_solver(SETTINGS), parse_solver(KINDS[kind])), parse_solver(extra)
    )
    return load_job(
        settings,
        backend,
        content=CONTENT,
        styles=[STYLE],
        net=tiny_net(),
        weights=tiny_weights(),
        masks=MASKS,
    )
