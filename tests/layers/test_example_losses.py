"""HistogramLoss and MRFLoss, which compare with examples: against naive loops and closed cases."""

from __future__ import annotations

import numpy as np
import pytest
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import NetError, ShapeError
from nst.layers import mrf_loss


def loss(backend: Backend, text: str, *bottoms: np.ndarray) -> float:
    return float(LayerRig(backend, text, bottoms).forward()[0])


class TestHistogramLoss:
    TEXT = 'type: "HistogramLoss"'

    def test_it_is_the_distance_of_the_sorted_values(
        self, backend: Backend, rng: np.random.Generator
    ) -> None:
        f, t = rng.normal(size=(2, 2, 3, 4, 5))

        found = loss(backend, self.TEXT, f, t)

        ours, theirs = (np.sort(x.reshape(2, 3, 20), axis=2) for x in (f, t))
        assert found == pytest.approx(((ours - theirs) ** 2).mean(axis=2).sum() / 2)

    def test_the_places_of_the_values_do_not_matter(
        self, backend: Backend, rng: np.random.Generator
    ) -> None:
        f = rng.normal(size=(1, 3, 20))

        assert loss(backend, self.TEXT, f, f[:, :, rng.permutation(20)]) == pytest.approx(0)

    def test_a_target_of_another_size_is_read_between_its_values(self, backend: Backend) -> None:
        f = np.array([[[3.0, 1, 2, 4]]])

        assert loss(backend, self.TEXT, f, np.array([[[1.5, 3.5]]])) == pytest.approx(
            ((1 - 1.5) ** 2 + 0 + 0 + (4 - 3.5) ** 2) / 4
        )

    def test_a_step_along_the_gradient_matches_the_histogram(
        self, backend: Backend, rng: np.random.Generator
    ) -> None:
        f, t = rng.normal(size=(1, 2, 9)), 3 + rng.normal(size=(1, 2, 9))
        rig = LayerRig(backend, self.TEXT, [f, t])
        rig.forward()

        moved = f - 9 / 2 * rig.backward([1.0], [True, False])[0]

        np.testing.assert_allclose(np.sort(moved, axis=2), np.sort(t, axis=2), rtol=1e-9)

    def test_channels_must_agree(self, backend: Backend) -> None:
        with pytest.raises(ShapeError, match="with one N and C"):
            loss(backend, self.TEXT, np.zeros((1, 2, 3)), np.zeros((1, 3, 3)))


def patches(maps: np.ndarray, side: int, stride: int) -> list[np.ndarray]:
    return [
        maps[:, h : h + side, w : w + side]
        for h in range(0, maps.shape[1] - side + 1, stride)
        for w in range(0, maps.shape[2] - side + 1, stride)
    ]


class TestMRFLoss:
    @pytest.mark.parametrize(("side", "stride"), [(3, 1), (2, 2), (1, 1), (3, 2)])
    def test_it_is_its_definition(
        self, side: int, stride: int, backend: Backend, rng: np.random.Generator
    ) -> None:
        f, t = rng.normal(size=(2, 3, 5, 6)), rng.normal(size=(2, 3, 4, 7))
        text = f'type: "MRFLoss" mrf_loss_param {{ patch: {side} stride: {stride} }}'

        found = loss(backend, text, f, t)

        total = 0.0
        for n in range(2):
            style = patches(t[n], side, 1)
            mine = patches(f[n], side, stride)
            for p in mine:
                nearest = max(style, key=lambda s: (p * s).sum() / np.linalg.norm(s))
                total += ((p - nearest) ** 2).sum() / len(mine)
        assert found == pytest.approx(total / 2, rel=1e-10)

    def test_a_piece_of_the_style_costs_nothing(
        self, backend: Backend, rng: np.random.Generator
    ) -> None:
        t = rng.normal(size=(1, 4, 8, 9))

        assert loss(backend, 'type: "MRFLoss"', t[:, :, 2:7, 3:8], t) == pytest.approx(0)

    def test_it_is_the_same_taken_in_pieces(
        self, backend: Backend, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        f, t = rng.normal(size=(1, 3, 6, 6)), rng.normal(size=(1, 3, 6, 6))
        whole = loss(backend, 'type: "MRFLoss"', f, t)

        monkeypatch.setattr(mrf_loss, "ROWS", 3)

        assert loss(backend, 'type: "MRFLoss"', f, t) == pytest.approx(whole)

    def test_a_patch_larger_than_a_map_is_refused(self, backend: Backend) -> None:
        with pytest.raises(ShapeError, match="a patch of 3 does not fit"):
            loss(backend, 'type: "MRFLoss"', np.zeros((1, 2, 4, 4)), np.zeros((1, 2, 2, 4)))

    def test_a_patch_of_nothing_is_refused(self, backend: Backend) -> None:
        with pytest.raises(NetError, match="patch and stride must be at least 1"):
            loss(
                backend,
                'type: "MRFLoss" mrf_loss_param { patch: 0 }',
                np.zeros((1, 2, 4, 4)),
                np.zeros((1, 2, 4, 4)),
            )
