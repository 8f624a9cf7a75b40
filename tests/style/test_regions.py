"""Regions: their names, what completes them, and whole runs: each region takes on its own style."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import Backend
from nst.errors import UsageError
from nst.io.prototxt import parse_solver
from nst.io.resample import resize
from nst.net import Net
from nst.proto import StyleTerm
from nst.style.identity import differences, identity_of
from nst.style.job import StyleJob, load_job
from nst.style.preparation import prepared_net, start_picture
from nst.style.region_names import region_names
from nst.style.regions import complete
from nst.style.run import StyleRun
from nst.style.schedule import Stage
from nst.style.settings import merged
from nst.style.statistics_store import MemoryStore
from nst.style.transfer import FeatureNet, StylePicture, image_of

CONTENT = picture(36, 48, 1)
STRIPES = np.full((32, 40, 3), (220, 60, 40), np.float32)
STRIPES[::4], STRIPES[1::4] = (250, 240, 60), (250, 240, 60)
DOTS = np.full((40, 32, 3), (20, 40, 120), np.float32)
DOTS[::3, ::3] = (160, 220, 250)

LEFT = np.zeros((36, 48))
LEFT[:, :24] = 1
SOFT = np.tile(np.linspace(0, 1, 48), (36, 1))
CORNER = np.zeros((18, 24))
CORNER[:9, :12] = 1
MASKS = {"left.png": LEFT, "soft.png": SOFT, "corner.png": CORNER, "right.png": 1 - LEFT}


def job(
    backend: Backend,
    styles: str,
    extra: str = "",
    pictures: tuple[np.ndarray, ...] = (STRIPES, DOTS),
    **masks: np.ndarray,
) -> StyleJob:
    """A job on the tiny net; `left=...` replaces left.png."""
    base = parse_solver(
        'type: "LBFGS" lbfgs_corrections: 8 max_iter: 40 style_transfer_param { sizes: [24, 48] '
        "style_statistic: W2 style_loss: RELATIVE content_loss: RELATIVE content_weight: 0.02 "
        "padding: REPLICATE pad_every_layer: true clamp: true transform_param { mean_value: 128 } }"
    )
    settings = merged(base, parse_solver(f"style_transfer_param {{ {styles} {extra} }}"))
    return load_job(
        settings,
        backend,
        content=CONTENT,
        styles=list(pictures),
        net=tiny_net(),
        weights=tiny_weights(),
        masks={**MASKS, **{f"{name}.png": mask for name, mask in masks.items()}},
    )


def moments(backend: Backend, rgb: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """(2, C): mean and mean square of every channel of the first two taps, by plain weighted sums."""
    made = job(backend, "")
    net = FeatureNet(made.net, made.objective, made.weights, backend)
    net.look_at(made.transform.encode(rgb))
    net.net.forward_from_to(0, len(net.net.layers) - 1)  # a compiled net keeps no inner values
    found = []
    for tap in ("conv1_1", "conv1_2"):  # of the picture's own size
        f = net.net.blobs[tap].to_host()[0].astype(float)
        weights = np.ones(f.shape[1:]) if mask is None else mask
        found.append([(x * weights).sum(axis=(1, 2)) / weights.sum() for x in (f, f * f)])
    return np.concatenate(found, axis=1)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of means and deviations, in units of b's own size."""
    a, b = (
        np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0))]) for mean, square in (a, b)
    )
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class TestNames:
    def test_without_masks_there_are_no_regions(self) -> None:
        assert region_names([StyleTerm(image="a"), StyleTerm(image="b")]) == ["", ""]

    def test_they_come_from_the_files_or_labels_and_the_rest_is_the_rest(self) -> None:
        styles = [
            StyleTerm(mask="my/Sky mask.png"),
            StyleTerm(),
            StyleTerm(mask="map.png", region="#ff0000"),
            StyleTerm(mask="map.png", region="#ff0000"),
            StyleTerm(mask="other/Sky mask.png"),
            StyleTerm(mask="content.png"),
        ]

        assert region_names(styles) == [
            *("Sky-mask", "rest", "ff0000", "ff0000", "Sky-mask-2", "content-2")
        ]

    def test_a_picture_that_is_partly_kept_has_a_rest(self) -> None:
        assert region_names([StyleTerm()], keeps=True) == ["rest"]


class TestCompletion:
    def test_the_rest_is_what_no_mask_covers(self) -> None:
        regions = complete(
            {"a": SOFT, "b": SOFT}, content=None, keep=None, has_rest=True, has_content=True
        )

        np.testing.assert_allclose(regions.styles["rest"], np.clip(1 - 2 * SOFT, 0, 1))
        assert regions.kept is None

    def test_what_no_style_covers_is_kept(self) -> None:
        regions = complete({"a": SOFT}, content=None, keep=None, has_rest=False, has_content=True)

        np.testing.assert_allclose(regions.kept, 1 - SOFT)

    def test_styles_end_where_the_content_is_kept(self) -> None:
        regions = complete({"a": SOFT}, content=None, keep=LEFT, has_rest=True, has_content=True)

        np.testing.assert_allclose(regions.styles["a"], SOFT * (1 - LEFT))
        np.testing.assert_allclose(regions.styles["rest"], (1 - SOFT) * (1 - LEFT))
        np.testing.assert_allclose(regions.kept, LEFT)

    @pytest.mark.parametrize(
        ("masks", "keep", "rest", "content", "message"),
        [
            ({"a": LEFT, "b": 1 - LEFT}, None, True, True, "region 'rest' .the masks cover all"),
            ({"a": LEFT}, LEFT, True, True, "region 'a' .its mask is black"),
            ({"a": LEFT}, None, False, False, "50% of the picture have no style"),
            ({}, np.ones((4, 4)), False, True, "all of the picture is kept"),
        ],
    )
    def test_regions_of_nothing_are_refused(
        self, masks: dict, keep: np.ndarray | None, rest: bool, content: bool, message: str
    ) -> None:
        with pytest.raises(UsageError, match=message):
            complete(masks, content=None, keep=keep, has_rest=rest, has_content=content)


class TestRuns:
    def test_each_region_takes_on_its_own_style_and_not_the_other(self, backend: Backend) -> None:
        result = StyleRun(
            job(backend, 'style { mask: "left.png" } style {}', "style_weight: 4")
        ).run()

        stripes, dots = moments(backend, STRIPES), moments(backend, DOTS)
        for mask, own, other in ((LEFT, stripes, dots), (1 - LEFT, dots, stripes)):
            before, after = (moments(backend, rgb, mask) for rgb in (CONTENT, result.pixels))
            assert distance(after, own) < 0.3 * distance(before, own)
            assert distance(after, other) > distance(before, other)

    def test_the_style_does_not_leak_over_the_border(self, backend: Backend) -> None:
        """Two pixels beyond the border the colours are those of the region's style alone."""
        result = StyleRun(
            job(backend, 'style { mask: "left.png" } style {}', "style_weight: 4")
        ).run()

        redness = (result.pixels[..., 0] - result.pixels[..., 2]).mean(axis=0)
        assert redness[:22].min() > 60
        assert redness[26:].max() < 0

    def test_what_no_style_covers_stays_to_the_pixel(self, backend: Backend) -> None:
        run = StyleRun(job(backend, 'style { mask: "left.png" }', pictures=(STRIPES,)))

        result = run.run()

        np.testing.assert_array_equal(result.pixels[:, 25:], CONTENT[:, 25:])
        assert np.abs(result.pixels[:, :24] - CONTENT[:, :24]).mean() > 20
        assert run.painter is not None
        np.testing.assert_array_equal(run.picture(), result.pixels)

    def test_a_keep_mask_keeps_and_starts_noise_beside_it(self, backend: Backend) -> None:
        extra = 'keep_mask: "corner.png" init { from: NOISE }'
        result = StyleRun(job(backend, "style {}", extra, (STRIPES,))).run()

        np.testing.assert_allclose(result.pixels[:16, :22], CONTENT[:16, :22], atol=1e-3)
        assert np.abs(result.pixels[20:, 26:] - CONTENT[20:, 26:]).mean() > 20

    def test_a_content_mask_lets_go_of_the_content_where_it_is_black(
        self, backend: Backend
    ) -> None:
        extra = (
            'init { from: GRAY } content { mask: "left.png" layer { name: "conv1_2" } } '
            "content_weight: 5 style_weight: 0"
        )
        result = StyleRun(job(backend, "", extra, ())).run()

        left, right = (
            np.corrcoef(result.pixels[:, half].ravel(), CONTENT[:, half].ravel())[0, 1]
            for half in (slice(0, 20), slice(28, 48))
        )
        assert left > 0.6
        assert right < 0.3

    def test_a_style_mask_takes_the_statistics_of_its_part(self, backend: Backend) -> None:
        """One picture of two manners, each in its own half, crossed over."""
        both = np.concatenate([resize(STRIPES, (36, 24)), resize(DOTS, (36, 24))], axis=1)
        styles = (
            'style { mask: "left.png" style_mask: "right.png" } '
            'style { mask: "right.png" style_mask: "left.png" }'
        )
        result = StyleRun(job(backend, styles, "style_weight: 4", (both, both))).run()

        redness = (result.pixels[..., 0] - result.pixels[..., 2]).mean(axis=0)
        assert redness[:22].max() < 0
        assert redness[26:].min() > 40

    def test_two_styles_in_one_region_are_mixed_as_moments(self, backend: Backend) -> None:
        styles = 'style { mask: "left.png" weight: 3 } style { mask: "left.png" weight: 1 }'
        result = StyleRun(job(backend, styles, "style_weight: 4 content_weight: 0.001")).run()

        mixed = 0.75 * moments(backend, STRIPES) + 0.25 * moments(backend, DOTS)
        after = moments(backend, result.pixels, LEFT)
        assert distance(after, mixed) < 0.3 * distance(moments(backend, CONTENT, LEFT), mixed)
        assert distance(after, mixed) < 0.3 * distance(moments(backend, STRIPES), mixed)


class TestTheNet:
    def painting_net(self, backend: Backend, styles: str, extra: str = "") -> tuple[Net, StyleJob]:
        made = job(backend, styles, extra)
        start = start_picture(made, (36, 48), None)
        return prepared_net(made, Stage(48, 1), start, None), made

    @pytest.mark.parametrize("statistic", ["GRAM", "W2", "MOMENTS", "MMD_LINEAR", "MMD_POLYNOMIAL"])
    def test_the_gradient_is_the_derivative_with_soft_masks(
        self, statistic: str, backend: Backend, rng: np.random.Generator
    ) -> None:
        extra = (
            f"style_statistic: {statistic} gram_normalize: HW "
            'keep_mask: "corner.png" content { mask: "soft.png" }'
        )
        net, _ = self.painting_net(backend, 'style { mask: "soft.png" } style {}', extra)
        image = image_of(net)
        start = image.to_host() + rng.normal(size=image.shape) * 20
        image.data[...] = backend.asarray(start, image.dtype)
        net.clear_param_diffs()
        net.forward_backward()
        gradient = image.diff_to_host().astype(float)
        direction = gradient / np.linalg.norm(gradient)

        losses = []
        for side in (-1, 1):
            image.data[...] = backend.asarray(start + side * 0.5 * direction, image.dtype)
            losses.append(net.forward_from_to())

        assert losses[1] - losses[0] == pytest.approx(np.linalg.norm(gradient), rel=0.02)
        assert not gradient[:, :, :16, :22].any()  # of what is kept

    def test_a_region_counts_by_its_share_and_the_mean_weight_of_its_styles(
        self, backend: Backend
    ) -> None:
        _, made = self.painting_net(backend, 'style { mask: "corner.png" weight: 3 } style {}')

        weights = {tap.region: tap.weight for tap in made.objective.style}
        assert weights["corner"] == pytest.approx(3 / 4, rel=0.01)
        assert weights["rest"] == pytest.approx(3 / 4, rel=0.01)

    @pytest.mark.parametrize("margin", [0, 1])
    def test_mask_and_whole_picture_agree_where_the_mask_is_white(
        self, margin: int, backend: Backend
    ) -> None:
        """A white mask and no mask are the same objective."""
        extra = f"style_margin: {margin}"
        plain = job(backend, "style {}", extra, pictures=(STRIPES,))
        masked = job(
            backend,
            'style { mask: "left.png" }',
            extra,
            pictures=(STRIPES,),
            left=np.ones((36, 48)),
        )
        start = start_picture(plain, (36, 48), None)

        losses = [
            prepared_net(each, Stage(48, 1), start, None).forward_from_to()
            for each in (plain, masked)
        ]

        assert losses[0] == pytest.approx(losses[1], rel=1e-5)

    def test_a_region_too_small_for_a_deep_layer_is_left_out_there(
        self, backend: Backend, caplog: pytest.LogCaptureFixture
    ) -> None:
        tiny = np.zeros((36, 48))
        tiny[4:6, 4:6] = 1
        loaded = job(backend, 'style { mask: "left.png" } style {}', left=tiny)
        start = start_picture(loaded, (36, 48), None)

        net = prepared_net(loaded, Stage(48, 1), start, None)

        assert "w2_conv1_1@left" in net.blobs
        assert "w2_conv3_1@left" not in net.blobs
        assert "w2_conv3_1@rest" in net.blobs
        assert "region 'left' is smaller than one place of conv2_1, conv3_1" in caplog.text
        coarse = prepared_net(loaded, Stage(16, 1), start_picture(loaded, (12, 16), None), None)
        assert "w2_conv1_1@left" not in coarse.blobs

    def test_a_region_too_small_for_all_layers_is_refused(self, backend: Backend) -> None:
        speck = np.zeros((360, 480))
        speck[40:44, 40:44] = 1
        made = job(backend, 'style { mask: "left.png" } style {}', left=speck)

        with pytest.raises(UsageError, match="region 'left': smaller than one place of every"):
            StyleRun(dataclasses.replace(made, stages=(Stage(48, 1),))).run()

    def test_a_style_mask_too_small_for_a_deep_layer_leaves_it_out(self, backend: Backend) -> None:
        part = np.zeros((32, 40))
        part[4:6, 4:6] = 1
        made = job(backend, 'style { style_mask: "part.png" } style {}', part=part)

        net = prepared_net(made, Stage(48, 1), start_picture(made, (36, 48), None), None)

        dots = FeatureNet(made.net, made.objective, made.weights, backend)
        alone = dots.capture_style([StylePicture(made.transform.encode(DOTS))])
        for tap, is_mixed in (("conv1_1", True), ("conv3_1", False)):
            target = net.blobs[f"input_w2_{tap}"].to_host()
            assert np.allclose(target, alone[f"w2_{tap}"], rtol=1e-4) != is_mixed

    def test_statistics_are_kept_by_picture_and_mask(self, backend: Backend) -> None:
        store = MemoryStore()

        def paint(styles: str, extra: str = "") -> int:
            made = job(backend, styles, extra, part=np.tile([1.0, 0.5, 0.0, 0, 0], (4, 1)))
            prepared_net(made, Stage(24, 1), start_picture(made, (18, 24), None), store)
            return store.computed

        assert paint('style { mask: "left.png" } style {}') == 2
        assert paint('style { mask: "soft.png" } style {}', "style_weight: 3") == 2
        assert paint('style { mask: "left.png" style_mask: "part.png" } style {}') == 3
        assert paint('style { mask: "soft.png" style_mask: "part.png" } style {}') == 3

    def test_colours_are_matched_to_those_of_the_region(self, backend: Backend) -> None:
        made = job(backend, 'style { mask: "left.png" } style {}', "color: MATCH_PCA")

        for style, half in zip(made.styles, (slice(0, 24), slice(24, 48)), strict=True):
            wanted = CONTENT[:, half].mean(axis=(0, 1))
            np.testing.assert_allclose(
                style.picture.rgb.mean(axis=(0, 1)), wanted, atol=0.5, err_msg=style.region
            )

    def test_sums_over_places_are_refused(self, backend: Backend) -> None:
        with pytest.raises(UsageError, match="gram_normalize: NONE sums over places"):
            job(backend, 'style { mask: "left.png" }', "style_statistic: GRAM gram_normalize: NONE")

    def test_a_mask_of_another_shape_is_refused(self, backend: Backend) -> None:
        with pytest.raises(
            UsageError, match=r"mask left: left.png does not fit .*got 40x40, expected .* 48x36"
        ):
            job(backend, 'style { mask: "left.png" } style {}', left=np.ones((40, 40)))

    def test_another_mask_is_another_run(self, backend: Backend) -> None:
        styles = 'style { mask: "left.png" } style {}'
        here, same, other = (
            identity_of(job(backend, styles, left=mask)) for mask in (LEFT, LEFT.copy(), SOFT)
        )

        assert differences(here, same) == []
        assert any("regions" in name for name in differences(here, other))

    def test_a_small_mask_may_be_off_by_its_rounding(self, backend: Backend) -> None:
        made = job(backend, 'style { mask: "left.png" } style {}', left=np.eye(5, 7))

        assert made.regions.shares["left"] == pytest.approx(1 / 7, abs=0.01)
