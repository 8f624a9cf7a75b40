"""The preset `fine`: any net, any size, the same weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import Backend, get_backend
from nst.core import TEST, RandomSource
from nst.io.prototxt import parse_solver, read_net
from nst.net import Net
from nst.proto import StyleTransferParameter
from nst.style.augment import for_extraction
from nst.style.job import StyleJob, load_job
from nst.style.objective_settings import read_objective
from nst.style.run import StyleRun
from nst.style.schedule import read_schedule
from nst.style.settings import with_preset

MODELS = Path(__file__).resolve().parents[2] / "models"
CONTENT, STYLE = picture(36, 48, 1), picture(30, 20, 2)


def job(backend: Backend, extra: str = "") -> StyleJob:
    flags = parse_solver(
        'max_iter: 12 style_transfer_param { preset: "fine" size: 32 coarsest_size: 16 '
        f"transform_param {{ mean_value: 128 }} {extra} }}"
    )
    return load_job(
        with_preset(parse_solver(""), flags),
        backend,
        content=CONTENT,
        styles=[STYLE],
        net=tiny_net(),
        weights=tiny_weights(),
    )


@pytest.mark.parametrize("model", ["vgg19", "vgg16", "googlenet", "squeezenet_v1.0", "quickstart"])
def test_it_finds_its_layers_in_every_model(model: str) -> None:
    settings = with_preset(
        parse_solver(""), parse_solver('style_transfer_param { preset: "fine" }')
    )

    objective = read_objective(
        settings.style_transfer_param, read_net(MODELS / model / "net.prototxt")
    )

    assert len(objective.content) == 1
    assert len(objective.style) == 5
    shallow, deep = StyleTransferParameter.W2, StyleTransferParameter.GRAM
    assert [tap.statistic for tap in objective.style] == [shallow] * 3 + [deep] * 2
    assert [tap.weight for tap in objective.style] == [4, 2, 1, 1, 0.25]


def test_its_sizes_rise_by_the_root_of_two() -> None:
    settings = with_preset(
        parse_solver(""), parse_solver('style_transfer_param { preset: "fine" size: 1024 }')
    )

    sizes = [stage.size for stage in read_schedule(settings, 3000)]

    assert sizes == [128, 181, 256, 362, 512, 724, 1024]


def test_every_size_lowers_the_loss_and_no_pixel_leaves_its_box(backend: Backend) -> None:
    run = StyleRun(job(backend))

    result = run.run()

    assert run.painter is not None
    painted = run.painter.picture()
    assert painted.min() >= -1e-3
    assert painted.max() <= 255 + 1e-3
    for stage in (0, 1, 2):
        losses = [p.record.loss for p in result.history if p.stage == stage]
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < losses[0]


def test_the_loss_does_not_depend_on_the_unit_of_the_features(backend: Backend) -> None:
    """Features ten times as large, by the first layer's weights, are worth the same."""
    plain = StyleRun(job(backend, "sizes: 24")).run().history[0].record.loss_terms
    loud_weights = tiny_weights()
    for name, arrays in loud_weights.items():
        first = name == "conv1_1"
        loud_weights[name] = [arrays[0] * (10 if first else 1), arrays[1] * 10]
    loud = dataclasses.replace(job(backend, "sizes: 24"), weights=loud_weights)

    scaled = StyleRun(loud).run().history[0].record.loss_terms

    assert scaled == pytest.approx(dict(plain), rel=0.02)


def test_the_style_comes_nearer_in_colour(backend: Backend) -> None:
    result = StyleRun(job(backend, "style_weight: 20")).run()

    def distance(rgb: np.ndarray) -> float:
        return float(np.abs(rgb.mean(axis=(0, 1)) - STYLE.mean(axis=(0, 1))).sum())

    assert distance(result.pixels) < distance(CONTENT)


@pytest.mark.parametrize("model", ["vgg19", "googlenet"])
def test_its_loss_falls_on_any_weights_of_a_large_net(model: str) -> None:
    """He weights of the real shapes; the taps of GoogLeNet lie up to 32 pixels apart."""
    net = read_net(MODELS / model / "net.prototxt")
    settings = with_preset(
        parse_solver(""),
        parse_solver('max_iter: 3 style_transfer_param { preset: "fine" sizes: 64 }'),
    )
    rng = np.random.default_rng(0)
    shape_giver = Net(
        for_extraction(net, read_objective(settings.style_transfer_param, net)),
        backend=get_backend("numpy"),
        phase=TEST,
        rng=RandomSource(0),
    )
    weights = {}
    for layer in shape_giver.layers:
        for blob in layer.params[:1]:
            spread = np.sqrt(2 / np.prod(blob.shape[1:]))
            filters = rng.normal(0, spread, blob.shape).astype(np.float32)
            weights[layer.name] = [filters, np.zeros(blob.shape[0], np.float32)]
    loaded = load_job(
        settings,
        get_backend("auto"),
        content=picture(48, 64, 1),
        styles=[picture(64, 56, 2)],
        net=net,
        weights=weights,
    )

    losses = [p.record.loss for p in StyleRun(loaded).run().history]

    assert np.isfinite(losses).all()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.95 * losses[0]
