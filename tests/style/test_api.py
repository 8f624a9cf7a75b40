"""`nst.style_transfer`: keywords are the fields of the solver file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from support.tiny import picture, tiny_net, tiny_weights

from nst.errors import UsageError
from nst.style import Progress, StyleRun, style_transfer

CONTENT, STYLE = picture(36, 48, 1), picture(30, 20, 2)


def paint(**changes):  # type: ignore[no-untyped-def]
    options = {
        "net": tiny_net(),
        "weights": tiny_weights(),
        "backend": "numpy",
        "content_layers": ["conv3_1"],
        "style_layers": {"conv1_1": 1.0, "conv2_1": 0.5},
        "gram_normalize": "HW",
        "style_weight": 0.01,
        "size": 24,
        "max_iter": 4,
        "transform_param": {"mean_value": [128]},
    }
    return style_transfer(CONTENT, changes.pop("style", STYLE), **{**options, **changes})


def test_it_returns_image_and_history() -> None:
    result = paint()

    assert result.image.shape == (18, 24, 3)
    assert [progress.iteration for progress in result.history] == [1, 2, 3, 4]


def test_every_keyword_reaches_its_field() -> None:
    seen: list[StyleRun] = []

    def look(progress: Progress, run: StyleRun) -> None:
        seen.append(run)

    paint(callback=look, type="Adam", base_lr=2.0, init="GRAY", tv_weight=0.5, sizes=[16, 24])

    job = seen[0].job
    assert job.settings.type == "Adam"
    assert job.objective.tv_weight == 0.5
    assert [(tap.blob, tap.weight) for tap in job.objective.style] == [
        ("conv1_1", 1.0),
        ("conv2_1", 0.5),
    ]
    assert [stage.size for stage in job.stages] == [16, 24]


def test_several_styles_have_their_shares() -> None:
    seen: list[StyleRun] = []
    paint(
        style=[STYLE, CONTENT],
        style_weights=[3, 1],
        callback=lambda progress, run: seen.append(run),
    )

    assert [style.weight for style in seen[0].job.styles] == [3, 1]


def test_the_embedded_model_is_the_default() -> None:
    result = style_transfer(CONTENT, STYLE, size=32, max_iter=2, backend="numpy")

    assert result.image.shape == (24, 32, 3)


def test_a_net_of_ones_own_is_painted_with_the_default_preset() -> None:
    result = style_transfer(
        CONTENT,
        STYLE,
        net=tiny_net(),
        weights=tiny_weights(),
        size=24,
        max_iter=1,
        backend="numpy",
    )

    assert set(result.history[0].record.loss_terms) == {
        *("loss_conv3_2", "loss_w2_conv1_1", "loss_w2_conv2_1", "loss_w2_conv3_1", "loss_tv")
    }


def test_one_layer_may_be_named_without_a_list() -> None:
    seen: list[StyleRun] = []

    paint(
        content_layers="conv3_1",
        style_layers="conv2_1",
        callback=lambda progress, run: seen.append(run),
    )

    assert [tap.blob for tap in seen[0].job.objective.style] == ["conv2_1"]


def test_a_pillow_picture_with_a_palette_shows_its_colours() -> None:
    colours = Image.fromarray(CONTENT.astype(np.uint8)).quantize(16)
    seen: list[StyleRun] = []

    result = style_transfer(
        colours, STYLE, size=24, max_iter=1, callback=lambda progress, run: seen.append(run)
    )

    assert result.image.shape == (18, 24, 3)
    content = seen[0].job.content
    assert content is not None
    np.testing.assert_array_equal(content.rgb, np.asarray(colours.convert("RGB")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": 3}, "style_transfer: weights: got int, expected a path"),
        ({"net": object()}, "style_transfer: net: got object, expected a path"),
    ],
)
def test_a_model_of_the_wrong_kind_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        style_transfer(CONTENT, STYLE, **changes)  # type: ignore[arg-type]


def test_the_arguments_are_not_changed() -> None:
    net, content = tiny_net(), CONTENT.copy()
    before = net.SerializeToString()

    paint(net=net)

    assert net.SerializeToString() == before
    np.testing.assert_array_equal(CONTENT, content)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sise": 3}, "no option 'sise'. Did you mean 'size'"),
        ({"size": "big"}, "style_transfer: size: "),
        ({"init": "NOISY"}, "style_transfer: init: "),
        ({"video": {"frames": "clip"}}, r"one picture \(got video.frames\)"),
        ({"style_weights": [1, 2]}, "style_weights: one per style picture"),
    ],
)
def test_a_wrong_keyword_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        paint(**options)
