"""Losses and scores: normalisation, ignored labels, extra tops, extreme scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.gradient_cases import normal
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import FileError
from nst.proto import BlobProto

SCORES = normal(2, 3, 2)
LABELS = np.array([[0.0, 255], [2, 1]])


@pytest.mark.parametrize(
    ("fields", "divisor"),
    [
        ("", 3),
        ("normalization: VALID", 3),
        ("normalization: FULL", 4),
        ("normalization: BATCH_SIZE", 2),
        ("normalization: NONE", 1),
        ("normalize: true", 3),
        ("normalize: false", 2),
        ("normalize: false normalization: FULL", 4),
    ],
)
@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "InfogainLoss"])
def test_the_sum_is_divided_as_asked(
    kind: str, fields: str, divisor: int, backend: Backend
) -> None:
    p = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
    total = -np.log([p[0, 0, 0], p[1, 2, 0], p[1, 1, 1]]).sum()
    gains = {"SoftmaxWithLoss": [], "InfogainLoss": [np.eye(3)]}[kind]
    text = f'type: "{kind}" loss_param {{ ignore_label: 255 {fields} }}'

    (loss,) = LayerRig(backend, text, [SCORES, LABELS, *gains]).forward()

    assert loss == pytest.approx(total / divisor)


@pytest.mark.parametrize(
    ("fields", "divisor"),
    [
        ("", 2),
        ("ignore_label: 7 normalization: VALID", 5),
        ("normalization: FULL", 6),
        ("normalization: NONE", 1),
        ("normalize: true ignore_label: 7", 5),
    ],
)
def test_the_sigmoid_loss_is_divided_as_asked(fields: str, divisor: int, backend: Backend) -> None:
    x, target = normal(2, 3), np.array([[0.0, 1, 0.3], [7, 1, 0]])
    text = f'type: "SigmoidCrossEntropyLoss" loss_param {{ {fields} }}'
    s = 1 / (1 + np.exp(-x))
    costs = -(target * np.log(s) + (1 - target) * np.log(1 - s))
    costs[1, 0] *= "ignore_label" not in fields

    (loss,) = LayerRig(backend, text, [x, target]).forward()

    assert loss == pytest.approx(costs.sum() / divisor)


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "InfogainLoss"])
def test_nothing_but_ignored_labels_costs_nothing(kind: str, backend: Backend) -> None:
    gains = {"SoftmaxWithLoss": [], "InfogainLoss": [np.eye(3)]}[kind]
    text = f'type: "{kind}" loss_param {{ ignore_label: 9 }}'
    rig = LayerRig(backend, text, [SCORES, np.full((2, 2), 9.0), *gains])

    assert rig.forward()[0] == 0
    wanted = [True, *[False] * (len(rig.bottom) - 1)]
    np.testing.assert_array_equal(rig.backward([1.0], wanted)[0], 0)


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "InfogainLoss"])
def test_the_second_top_is_the_probability(kind: str, backend: Backend) -> None:
    gains = {"SoftmaxWithLoss": [], "InfogainLoss": [np.eye(3)]}[kind]
    rig = LayerRig(backend, f'type: "{kind}"', [SCORES, LABELS % 3, *gains], tops=2)

    _, p = rig.forward()

    np.testing.assert_allclose(p, np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True))


def test_huge_scores_give_finite_losses_and_gradients(backend: Backend) -> None:
    x = np.array([[1e4, -1e4, 0.0]])
    for text, label in (
        ('type: "SoftmaxWithLoss"', [1.0]),
        ('type: "SigmoidCrossEntropyLoss"', [[0.0, 1.0, 0.5]]),
    ):
        rig = LayerRig(backend, text, [x, label])

        assert np.isfinite(rig.forward()[0])
        assert np.isfinite(rig.backward([1.0], [True, False])[0]).all()


def test_gains_can_come_from_a_file(tmp_path: Path, backend: Backend) -> None:
    gains = normal(3, 3) ** 2
    blob = BlobProto(num=1, channels=1, height=3, width=3)
    blob.data.extend(gains.ravel())
    path = tmp_path / "gains.binaryproto"
    path.write_bytes(blob.SerializeToString())
    x, label = normal(4, 3), np.array([0.0, 1, 2, 1])
    text = f'type: "InfogainLoss" infogain_loss_param {{ source: "{path}" }}'

    from_file = LayerRig(backend, text, [x, label]).forward()[0]
    from_bottom = LayerRig(backend, 'type: "InfogainLoss"', [x, label, gains]).forward()[0]

    assert from_file == pytest.approx(float(from_bottom), rel=1e-6)


def test_a_missing_file_of_gains_is_named(backend: Backend) -> None:
    text = 'type: "InfogainLoss" infogain_loss_param { source: "gone.binaryproto" }'

    with pytest.raises(FileError, match=r"gone\.binaryproto: cannot read the blob"):
        LayerRig(backend, text, [normal(4, 3), np.zeros(4)])


def test_ties_count_against_the_label(backend: Backend) -> None:
    x = np.array([[1.0, 1, 0], [2, 1, 1], [0, 0, 5]])

    (share,) = LayerRig(backend, 'type: "Accuracy"', [x, [0.0, 0, 2]]).forward()

    assert share == pytest.approx(2 / 3)


def test_accuracy_of_each_class_alone(backend: Backend) -> None:
    x = np.array([[3.0, 1, 0, 0], [3, 1, 0, 0], [0, 5, 1, 0], [1, 5, 0, 0]])
    text = 'type: "Accuracy" accuracy_param { ignore_label: 3 }'

    total, per_class = LayerRig(backend, text, [x, [0.0, 1, 1, 3]], tops=2).forward()

    assert total == pytest.approx(2 / 3)
    np.testing.assert_allclose(per_class, [1, 0.5, 0, 0])


def test_accuracy_with_nothing_to_count_is_zero(backend: Backend) -> None:
    text = 'type: "Accuracy" accuracy_param { ignore_label: 1 }'

    assert LayerRig(backend, text, [normal(2, 3), [1.0, 1]]).forward()[0] == 0
