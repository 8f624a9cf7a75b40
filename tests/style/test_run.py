"""Whole runs on the tiny net: sizes, stopping, divergence, colours, repeatability."""

from __future__ import annotations

import dataclasses
import weakref
from pathlib import Path

import numpy as np
import pytest
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import Backend
from nst.errors import Diverged, ImageError, UsageError, WeightsError
from nst.io.picture_output import write_picture
from nst.io.prototxt import parse_solver
from nst.net import Net
from nst.proto import SolverParameter
from nst.style.job import StyleJob, anchored, load_job
from nst.style.run import Progress, StyleRun, run_job
from nst.style.settings import merged

SETTINGS = """
max_iter: 8
style_transfer_param {
  content { layer { name: "conv3_1" } }
  style { layer { name: "conv1_1" } layer { name: "relu2_1" weight: 2 } }
  gram_normalize: HW style_weight: 0.01 content_weight: 0.1 size: 24
  transform_param { mean_value: 128 }
}
"""
CONTENT, STYLE = picture(36, 48, 1), picture(30, 20, 2)


def settings_with(extra: str, outside: str = "") -> SolverParameter:
    """SETTINGS with fields of the style block, and of the solver, set or replaced."""
    changes = parse_solver(f"{outside} style_transfer_param {{ {extra} }}")
    return merged(parse_solver(SETTINGS), changes)


def job(backend: Backend, extra: str = "", outside: str = "") -> StyleJob:
    return load_job(
        settings_with(extra, outside),
        backend,
        content=CONTENT,
        styles=[STYLE],
        net=tiny_net(),
        weights=tiny_weights(),
    )


def test_a_run_paints_a_picture_of_the_size_asked_for(backend: Backend) -> None:
    result = run_job(job(backend))

    assert result.image.shape == (18, 24, 3)
    assert result.image.dtype == np.uint8
    assert [p.iteration for p in result.history] == list(range(1, 9))
    losses = [p.record.loss for p in result.history]
    assert losses == sorted(losses, reverse=True)


def test_the_net_of_a_size_is_gone_before_that_of_the_next_is_made(backend: Backend) -> None:
    nets: list[weakref.ref[Net]] = []
    alive: list[int] = []

    def observe(progress: Progress, run: StyleRun) -> None:
        assert run.painter is not None
        if progress.iteration == 1:
            nets.append(weakref.ref(run.painter.net))
            alive.append(sum(net() is not None for net in nets))

    StyleRun(job(backend, "sizes: [16, 20, 24]"), [observe]).run()

    assert alive == [1, 1, 1]


def test_a_second_run_of_the_same_job_gives_the_same_bytes(backend: Backend) -> None:
    one = job(backend)
    before = one.net.SerializeToString()

    first, second = run_job(one), run_job(one)

    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert one.net.SerializeToString() == before


def test_sizes_are_painted_coarse_to_fine(backend: Backend) -> None:
    result = run_job(job(backend, "sizes: [16, 24] iterations: [3, 2]", ""))

    assert [p.size for p in result.history] == [(12, 16)] * 3 + [(18, 24)] * 2
    assert [p.done for p in result.history] == [1, 2, 3, 4, 5]
    assert {p.total for p in result.history} == {5}


def test_stopping_keeps_the_picture_and_ends_after_the_iteration(backend: Backend) -> None:
    def stop_at_three(progress: Progress, run: StyleRun) -> None:
        if progress.iteration == 3:
            run.stop()

    result = run_job(job(backend, "sizes: [16, 24]", ""), stop_at_three)

    assert len(result.history) == 3
    assert result.image.shape == (12, 16, 3)
    assert result.stop_reason == "stop was requested"


def test_divergence_names_iteration_and_layer_and_keeps_the_best(backend: Backend) -> None:
    wild = job(backend, "", 'type: "SGD" base_lr: 1e30')
    run = StyleRun(wild)

    result = run.run()

    assert isinstance(run.failure, Diverged)
    assert "iteration" in str(run.failure)
    assert "layer '" in str(run.failure)
    assert np.isfinite(result.pixels).all()
    with pytest.raises(Diverged):
        run_job(wild)


def test_clamped_runs_stay_inside_what_a_picture_can_show(backend: Backend) -> None:
    run = StyleRun(job(backend, "clamp: true style_weight: 10"))

    run.run()

    assert run.painter is not None
    assert run.painter.picture().min() >= -1e-3
    assert run.painter.picture().max() <= 255 + 1e-3


@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSProp"])
def test_other_solvers_paint_too(kind: str, backend: Backend) -> None:
    rate = {"SGD": 1e-5, "Adam": 2.0, "RMSProp": 1.0}[kind]
    momentum = "momentum: 0.9" if kind == "Adam" else ""

    result = run_job(job(backend, "", f'type: "{kind}" base_lr: {rate} {momentum}'))

    assert result.history[-1].record.loss < result.history[0].record.loss


def test_texture_synthesis_needs_no_content(backend: Backend) -> None:
    settings = settings_with("content_weight: 0 init { from: NOISE }")

    result = run_job(
        load_job(settings, backend, styles=[STYLE], net=tiny_net(), weights=tiny_weights())
    )

    assert result.image.shape == (24, 16, 3)  # the style's own aspect


def test_content_reconstruction_needs_no_style(backend: Backend) -> None:
    settings = settings_with("style_weight: 0 init { from: GRAY } clamp: true")
    settings.max_iter = 40

    result = run_job(
        load_job(settings, backend, content=CONTENT, net=tiny_net(), weights=tiny_weights())
    )

    assert result.history[-1].record.loss < 0.05 * result.history[0].record.loss


def test_transparency_comes_back_with_the_result(backend: Backend) -> None:
    alpha = np.linspace(0, 255, 36 * 48).reshape(36, 48, 1)
    settings = parse_solver(SETTINGS)
    content = np.concatenate([CONTENT, alpha], axis=2)

    result = run_job(
        load_job(
            settings,
            backend,
            content=content,
            styles=[STYLE],
            net=tiny_net(),
            weights=tiny_weights(),
        )
    )

    assert result.alpha is not None
    np.testing.assert_allclose(result.alpha, alpha[:, :, 0], rtol=1e-6)


class TestLoading:
    def test_paths_are_relative_to_the_file_that_names_them(
        self, tmp_path: Path, backend: Backend
    ) -> None:
        write_picture(tmp_path / "a.png", CONTENT)
        write_picture(tmp_path / "b.png", STYLE)
        settings = anchored(
            parse_solver(
                SETTINGS.replace("content {", 'content { image: "a.png"').replace(
                    "style {", 'style { image: "b.png"'
                )
            ),
            tmp_path,
        )

        loaded = load_job(settings, backend, net=tiny_net(), weights=tiny_weights())

        assert loaded.content is not None
        assert loaded.content.path == tmp_path / "a.png"
        assert set(loaded.files) == {"content", "style"}

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"content": None, "styles": []}, UsageError, "no picture given"),
            ({"net": None}, UsageError, "net: none given"),
            ({"weights": None}, UsageError, "weights: none given"),
            ({"content": "missing.png"}, ImageError, "missing.png"),
            ({"content": np.zeros((3, 4, 5))}, ImageError, "not a picture"),
        ],
    )
    def test_what_is_missing_is_said_before_anything_runs(
        self,
        change: dict[str, object],
        error: type[Exception],
        message: str,
        backend: Backend,
    ) -> None:
        given: dict[str, object] = {
            "content": CONTENT,
            "styles": [STYLE],
            "net": tiny_net(),
            "weights": tiny_weights(),
        }

        with pytest.raises(error, match=message):
            load_job(parse_solver(SETTINGS), backend, **{**given, **change})  # type: ignore[arg-type]

    def test_an_unknown_tap_is_named_with_the_nearest(self, backend: Backend) -> None:
        settings = parse_solver(SETTINGS.replace("conv3_1", "conv3_11"))

        with pytest.raises(
            UsageError, match=r"layer 'conv3_11': not a blob.*Did you mean 'conv3_1'"
        ):
            load_job(
                settings,
                backend,
                content=CONTENT,
                styles=[STYLE],
                net=tiny_net(),
                weights=tiny_weights(),
            )

    def test_a_preset_for_another_model_says_so(self, backend: Backend) -> None:
        loaded = load_job(
            settings_with('preset: "gatys"'),
            backend,
            content=CONTENT,
            styles=[STYLE],
            net=tiny_net(),
            weights=tiny_weights(),
        )

        assert "preset 'gatys' were set for vgg19; this net is 'tiny'" in loaded.notes[0]

    def test_weights_of_another_net_stop_the_run(self, backend: Backend) -> None:
        strange = dataclasses.replace(job(backend), weights={"elsewhere": []})

        with pytest.raises(WeightsError, match="no weights for"):
            run_job(strange)
