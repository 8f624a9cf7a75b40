"""A style alone makes a texture, a content alone is painted anew from its features."""

from __future__ import annotations

import numpy as np
import pytest
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import Backend
from nst.errors import UsageError
from nst.io.prototxt import parse_solver
from nst.proto import InitialImage
from nst.style.api import style_transfer
from nst.style.job import StyleJob, load_job
from nst.style.preparation import start_picture
from nst.style.run import StyleRun
from nst.style.settings import with_preset, without_examples
from nst.style.transfer import FeatureNet

CONTENT, STYLE = picture(36, 48, 1), picture(30, 40, 2)


def job(backend: Backend, extra: str = "", solver: str = "max_iter: 60", **pictures) -> StyleJob:
    flags = parse_solver(
        f'{solver} style_transfer_param {{ preset: "fine" transform_param {{ mean_value: 128 }} {extra} }}'
    )
    return load_job(
        with_preset(parse_solver(""), flags),
        backend,
        net=tiny_net(),
        weights=tiny_weights(),
        **pictures,
    )


def grams(made: StyleJob, rgb: np.ndarray) -> np.ndarray:
    """Second moments of the features at three depths, by einsum."""
    net = FeatureNet(made.net, made.objective, made.weights, made.backend)
    net.look_at(made.transform.encode(rgb))
    net.net.forward_from_to(0, len(net.net.layers) - 1)  # a compiled net keeps no inner values
    found = []
    for tap in ("conv1_1", "conv2_1", "conv3_1"):
        f = net.net.blobs[tap].to_host()[0].astype(float)
        found.append((np.einsum("chw,dhw->cd", f, f) / f[0].size).ravel())
    return np.concatenate([gram / np.linalg.norm(gram) for gram in found])


class TestTexture:
    def test_its_statistics_come_near_and_its_places_do_not(self, backend: Backend) -> None:
        made = job(backend, "size: 40 coarsest_size: 20", styles=[STYLE])

        run = StyleRun(made)
        result = run.run()

        assert result.pixels.shape == STYLE.shape
        wanted = grams(made, STYLE)
        noise = made.transform.decode(
            made.transform.encode(np.random.default_rng(0).normal(128, 40, STYLE.shape))
        )
        before, after = (
            np.linalg.norm(grams(made, rgb) - wanted) for rgb in (noise, result.pixels)
        )
        assert after < 0.1 * before
        centred = [(x - x.mean(axis=(0, 1))).ravel() for x in (result.pixels, STYLE)]
        assert abs(np.corrcoef(*centred)[0, 1]) < 0.5

    def test_the_loss_has_style_terms_alone_and_falls_by_orders(self, backend: Backend) -> None:
        run = StyleRun(job(backend, "size: 40 coarsest_size: 0", styles=[STYLE]))

        history = run.run().history

        assert {name.split("_")[1] for name in history[0].record.loss_terms} == {"w2", "tv"}
        assert history[-1].record.loss < 0.02 * history[0].record.loss

    def test_it_starts_from_the_colours_of_the_style_and_has_its_aspect(
        self, backend: Backend
    ) -> None:
        made = job(backend, "size: 32", styles=[STYLE])

        assert getattr(made.style_param.init, "from") == InitialImage.STYLE_STATISTICS
        assert made.shape_at(32) == (24, 32)

    def test_it_takes_any_aspect(self, backend: Backend) -> None:
        made = job(
            backend, "size: 48 aspect: [48, 16] coarsest_size: 0", "max_iter: 2", styles=[STYLE]
        )

        assert StyleRun(made).run().pixels.shape == (16, 48, 3)

    def test_masks_alone_give_its_shape_and_say_which_style_is_where(
        self, backend: Backend
    ) -> None:
        red, blue = picture(24, 24, 3) * [1, 0.4, 0.2], picture(24, 24, 3) * [0.2, 0.4, 1]
        left = np.zeros((10, 20))
        left[:, :10] = 1
        made = load_job(
            parse_solver(
                "max_iter: 60 style_transfer_param { size: 40 style_statistic: MOMENTS "
                "style_loss: RELATIVE clamp: true transform_param { mean_value: 128 } "
                'style { mask: "left" } style {} init { from: GRAY } }'
            ),
            backend,
            styles=[red, blue],
            net=tiny_net(),
            weights=tiny_weights(),
            masks={"left": left},
        )

        result = StyleRun(made).run().pixels

        assert result.shape == (20, 40, 3)
        redness = (result[..., 0] - result[..., 2]).mean(axis=0)
        assert redness[:17].mean() > redness[23:].mean() + 60

    def test_every_region_starts_from_the_colours_of_its_own_style(self, backend: Backend) -> None:
        flat = [
            np.full((12, 12, 3), colour, np.float32) for colour in ((200, 40, 30), (20, 60, 220))
        ]
        left = np.zeros((16, 32))
        left[:, :16] = 1
        made = load_job(
            parse_solver(
                "max_iter: 1 style_transfer_param { size: 32 transform_param { mean_value: 128 } "
                'gram_normalize: HW style { mask: "left" } style {} }'
            ),
            backend,
            styles=flat,
            net=tiny_net(),
            weights=tiny_weights(),
            masks={"left": left},
        )

        start = start_picture(made, (16, 32), None)

        np.testing.assert_allclose(start[:, :15].mean(axis=(0, 1)), flat[0][0, 0], atol=1)
        np.testing.assert_allclose(start[:, 17:].mean(axis=(0, 1)), flat[1][0, 0], atol=1)

    def test_a_tileable_one_goes_on_over_its_edges(self, backend: Backend) -> None:
        """The step over the edge is like those inside; with replicated borders it is not."""
        circular = (
            "size: 32 aspect: [32, 32] coarsest_size: 0 padding: CIRCULAR pad_every_layer: true"
        )
        edges = []
        for extra in (circular, circular.replace("CIRCULAR", "REPLICATE")):
            made = job(backend, extra, styles=[picture(32, 32, 7)])
            rgb = StyleRun(made).run().pixels
            seams = np.abs(rgb[:, 0] - rgb[:, -1]).mean() + np.abs(rgb[0] - rgb[-1]).mean()
            inside = np.abs(np.diff(rgb, axis=0)).mean() + np.abs(np.diff(rgb, axis=1)).mean()
            edges.append(seams / inside)

        assert edges[0] < 1.3
        assert edges[0] < 0.7 * edges[1]


class TestReconstruction:
    @pytest.mark.parametrize(
        ("tap", "nearer", "likeness"), [("conv1_1", 0.02, 0.95), ("conv1_2", 0.05, 0.4)]
    )
    def test_features_are_met_and_the_picture_comes_out(
        self, tap: str, nearer: float, likeness: float, backend: Backend
    ) -> None:
        extra = f'size: 48 coarsest_size: 0 tv_weight: 0 content {{ layer {{ name: "{tap}" }} }}'
        run = StyleRun(job(backend, extra, content=CONTENT))

        result = run.run()

        history = result.history
        assert set(history[0].record.loss_terms) == {f"loss_{tap}"}
        assert history[-1].record.loss < nearer * history[0].record.loss
        assert np.corrcoef(result.pixels.ravel(), CONTENT.ravel())[0, 1] > likeness

    def test_it_starts_from_noise(self, backend: Backend) -> None:
        made = job(backend, content=CONTENT)

        assert getattr(made.style_param.init, "from") == InitialImage.NOISE
        assert not made.objective.style


def test_both_pictures_start_from_the_content(backend: Backend) -> None:
    made = job(backend, content=CONTENT, styles=[STYLE])

    assert getattr(made.style_param.init, "from") == InitialImage.CONTENT


def test_what_cannot_be_painted_is_refused(backend: Backend) -> None:
    for extra, pictures, message in (
        ("", {}, "no picture given"),
        ("style_weight: 0", {"styles": [STYLE]}, "style_weight: nothing to paint"),
        ("content_weight: 0", {"content": CONTENT}, "content_weight: nothing to paint"),
        ("aspect: [3, 2]", {"content": CONTENT}, "aspect: the content picture has its own"),
        ("aspect: 3", {"styles": [STYLE]}, r"aspect: got \[3\], expected a width and a height"),
        ("init { from: CONTENT }", {"styles": [STYLE]}, "init: CONTENT needs a content picture"),
    ):
        with pytest.raises(UsageError, match=message):
            StyleRun(job(backend, extra, **pictures)).run()


def test_examples_of_a_model_do_not_join_pictures_of_the_users() -> None:
    base = parse_solver(
        'style_transfer_param { content { image: "a" layer { name: "x" } } init { from: CONTENT } '
        'style { image: "b" layer { name: "y" } } }'
    )

    texture = without_examples(base, has_content=False, has_style=True).style_transfer_param
    content = without_examples(base, has_content=True, has_style=False).style_transfer_param
    neither = without_examples(base, has_content=False, has_style=False)

    assert (texture.content.image, texture.content.layer[0].name) == ("", "x")
    assert texture.style[0].image == "b"
    assert not texture.HasField("init")
    assert (content.content.image, content.style[0].image) == ("a", "")
    assert content.style[0].layer[0].name == "y"
    assert neither == base


def test_the_call_from_python_knows_both() -> None:
    small = {"sizes": [24], "iterations": [2], "backend": "numpy"}

    texture = style_transfer(style=STYLE, **small)
    anew = style_transfer(content=CONTENT, **small)

    assert texture.image.shape == (18, 24, 3)
    assert anew.image.shape == (18, 24, 3)
