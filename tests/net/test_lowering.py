"""Lowering: which layers are operations, which pairs are fused, whose gradients share a buffer."""

from __future__ import annotations

import pytest

from nst.backend.numpy_backend import NumpyBackend
from nst.backend.operations import (
    AddUp,
    BatchNormalise,
    ChannelScale,
    Convolve,
    Fork,
    GramMatrix,
    Pool,
    Rectify,
)
from nst.io.prototxt import parse_net
from nst.net import Net
from nst.net.lowering import Execution

CONV = """layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" {2}
          convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}"""
RELU = """layer {{ name: "relu{0}" type: "ReLU" bottom: "{0}" top: "{0}"
          relu_param {{ negative_slope: {1} }} }}"""
FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
PICTURE = """layer { name: "x" type: "Parameter" top: "x"
             parameter_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }"""
POOL = """layer { name: "pool" type: "Pooling" bottom: "a" top: "pool"
          pooling_param { kernel_size: 2 stride: 2 } }"""
LOSS = """layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 1 dim: 4 dim: 4 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "gram" bottom: "t" top: "loss" }"""


def gram_of(blob: str) -> str:
    return f'layer {{ name: "gram" type: "Gram" bottom: "{blob}" top: "gram" }}'


def final_loss(blob: str) -> str:
    return f"""layer {{ name: "u" type: "Input" top: "u"
                       input_param {{ shape {{ dim: 1 dim: 4 dim: 8 dim: 8 }} }} }}
layer {{ name: "end" type: "EuclideanLoss" bottom: "{blob}" bottom: "u" top: "end" }}"""


def chain(*names: str) -> list[str]:
    """Frozen convolutions one after the other, each with its ReLU."""
    bottoms = ("x", *names)
    parts = [
        CONV.format(name, bottom, FROZEN) for name, bottom in zip(names, bottoms, strict=False)
    ]
    return [
        text
        for name, part in zip(names, parts, strict=True)
        for text in (part, RELU.format(name, 0))
    ]


def execution(*layers: str, recycle: bool = True) -> Execution:
    text = "\n".join([PICTURE, *layers])
    return Net(parse_net(text), backend=NumpyBackend(), recycle_gradients=recycle).execution


def operation(plan: Execution, name: str) -> object:
    return next(step.operation for step in plan.steps if step and step.name == name)


def test_a_convolution_runs_as_one_with_the_plain_relu_right_after_it() -> None:
    plan = execution(*chain("a"), gram_of("a"), LOSS)
    convolution = operation(plan, "a")
    assert isinstance(convolution, Convolve)
    assert convolution.rectified
    assert operation(plan, "relua") == Rectify(0.0, True)


def test_a_rectified_convolution_takes_over_from_the_maximum_behind_it() -> None:
    plan = execution(*chain("a"), POOL, CONV.format("b", "pool", FROZEN), gram_of("b"), LOSS)
    pool, convolution = operation(plan, "pool"), operation(plan, "a")
    assert isinstance(pool, Pool)
    assert isinstance(convolution, Convolve)
    assert pool.gates
    assert not convolution.keeps_gate
    assert (
        plan.gradients is not None
    )  # what is left of the pooled half is read while "x" gets its gradient
    assert plan.gradients.slots["pool"] != plan.gradients.slots["b"]


@pytest.mark.parametrize(
    ("layers", "recycle"),
    [
        ([*chain("a"), POOL.replace("kernel_size: 2", "kernel_size: 3"), gram_of("pool")], True),
        (
            [
                *chain("a"),
                POOL.replace("kernel_size: 2", "pool: AVE kernel_size: 2"),
                gram_of("pool"),
            ],
            True,
        ),
        ([*chain("a"), POOL, gram_of("a")], True),
        ([CONV.format("a", "x", ""), RELU.format("a", 0), POOL, gram_of("pool")], True),
        ([*chain("a"), POOL, gram_of("pool")], False),
    ],
    ids=["overlaps", "means", "tapped", "learns", "kept"],
)
def test_other_poolings_write_the_gradient_that_they_pass_on(
    layers: list[str], recycle: bool
) -> None:
    plan = execution(*layers, LOSS, recycle=recycle)
    pool, convolution = operation(plan, "pool"), operation(plan, "a")
    assert isinstance(pool, Pool)
    assert isinstance(convolution, Convolve)
    assert not pool.gates
    learns = "a" in layers[0] and FROZEN not in layers[0]
    assert convolution.keeps_gate == (recycle and not learns)


def test_a_leaky_relu_is_not_fused() -> None:
    layers = [CONV.format("a", "x", FROZEN), RELU.format("a", 0.1)]
    plan = execution(*layers, gram_of("a"), LOSS)
    convolution = operation(plan, "a")
    assert isinstance(convolution, Convolve)
    assert not convolution.rectified


def test_a_convolution_that_learns_gets_its_gradient_masked_beforehand() -> None:
    layers = [CONV.format("a", "x", ""), RELU.format("a", 0)]
    plan = execution(*layers, gram_of("a"), LOSS)
    assert operation(plan, "relua") == Rectify(0.0, False)


def test_kept_gradients_are_masked_beforehand() -> None:
    plan = execution(*chain("a"), gram_of("a"), LOSS, recycle=False)
    assert operation(plan, "relua") == Rectify(0.0, False)
    assert plan.gradients is None


def test_gradients_of_a_chain_take_turns_in_two_buffers() -> None:
    plan = execution(*chain("a", "b", "c", "d"), gram_of("d"), LOSS)
    assert plan.gradients is not None
    slots = plan.gradients.slots
    assert set(slots) == {"a", "b", "c", "d"}
    assert set(slots.values()) == {0, 1}
    assert slots["d"] != slots["c"] != slots["b"] != slots["a"]


def test_a_gram_at_the_end_adds_to_its_taps_gradient_without_holding_a_buffer() -> None:
    plan = execution(*chain("a", "b", "c", "d"), gram_of("a"), LOSS, final_loss("d"))
    assert plan.gradients is not None
    assert plan.gradients.sums == {"a_relua_0_split_0": "a", "a_relua_0_split_1": "a"}
    assert len(set(plan.gradients.slots.values())) == 2
    assert isinstance(operation(plan, "a_relua_0_split"), Fork)
    assert isinstance(operation(plan, "gram"), GramMatrix)


def test_the_picture_keeps_a_gradient_of_its_own() -> None:
    plan = execution(*chain("a"), gram_of("a"), LOSS)
    assert plan.gradients is not None
    assert "x" not in plan.gradients.slots


def test_layers_without_an_operation_spoil_the_sharing_of_what_they_touch() -> None:
    tanh = 'layer { name: "tanh" type: "TanH" bottom: "a" top: "b" }'
    plan = execution(*chain("a"), tanh, gram_of("b"), LOSS)
    assert plan.gradients is not None
    assert plan.gradients.slots == {}
    assert all(step is None or step.name != "tanh" for step in plan.steps)


def test_global_pooling_has_the_window_of_the_picture() -> None:
    pool = """layer { name: "pool" type: "Pooling" bottom: "a" top: "pool"
              pooling_param { pool: AVE global_pooling: true } }"""
    plan = execution(*chain("a"), pool)
    assert operation(plan, "pool") == Pool(None, False)


def test_printing_shows_every_step_and_every_buffer() -> None:
    text = str(execution(*chain("a"), gram_of("a"), LOSS))
    assert "relua" in text
    assert "gradient of a: 0" in text


NORM = 'layer { name: "norm" type: "BatchNorm" bottom: "a" top: "a" }'
SCALE = 'layer {{ name: "scale" type: "Scale" bottom: "a" top: "a" {0} scale_param {{ bias_term: true }} }}'
LEARNED = "param { lr_mult: 1 } param { lr_mult: 1 }"


def test_normalisation_scale_and_relu_in_place_run_as_one() -> None:
    conv, relu = CONV.format("a", "x", FROZEN), RELU.format("a", 0)
    plan = execution(conv, NORM, SCALE.format(FROZEN), relu, gram_of("a"), LOSS, recycle=False)
    stored = operation(plan, "norm")
    assert isinstance(stored, BatchNormalise)
    assert (stored.uses_stored, stored.joined, stored.keeps_input) == (True, True, False)
    assert operation(plan, "scale") == ChannelScale(joined=True, keeps_input=False)
    assert operation(plan, "relua") == Rectify(0.0, True)
    convolution = operation(plan, "a")
    assert isinstance(convolution, Convolve)
    assert not convolution.rectified


def test_a_scale_that_learns_makes_the_normalisation_before_it_keep_its_input() -> None:
    conv = CONV.format("a", "x", FROZEN)
    plan = execution(conv, NORM, SCALE.format(LEARNED), gram_of("a"), LOSS)
    norm = operation(plan, "norm")
    assert isinstance(norm, BatchNormalise)
    assert (norm.joined, norm.keeps_input) == (True, True)
    assert operation(plan, "scale") == ChannelScale(joined=False, keeps_input=True)


def test_a_scale_with_more_than_a_number_per_channel_runs_by_its_own_code() -> None:
    conv = CONV.format("a", "x", FROZEN)
    wide = SCALE.format(LEARNED).replace("bias_term: true", "bias_term: true num_axes: 3")
    plan = execution(conv, wide, gram_of("a"), LOSS)
    assert "scale" not in [step.name for step in plan.steps if step]


def test_a_sum_runs_as_one_with_the_relu_after_it() -> None:
    parts = [CONV.format("a", "x", FROZEN), CONV.format("b", "x", FROZEN)]
    parts += [
        """layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum"
                 eltwise_param { coeff: 1 coeff: -2 } }""",
        RELU.format("sum", 0),
    ]
    plan = execution(*parts, gram_of("sum"), LOSS)
    assert operation(plan, "sum") == AddUp((1, -2), rectified=True)
    assert operation(plan, "relusum") == Rectify(0.0, False)
