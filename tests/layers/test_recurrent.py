"""RNN and LSTM over sequences: cont, carried states, changing lengths."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradient_cases import normal
from support.layer_rig import LayerRig, write

from nst.backend import Backend

KINDS = ["RNN", "LSTM"]


def rig_of(kind: str, backend: Backend, x: np.ndarray, cont: np.ndarray) -> LayerRig:
    text = f'type: "{kind}" recurrent_param {{ num_output: 3 }}'
    rig = LayerRig(backend, text, [x, cont])
    for i, blob in enumerate(rig.params):
        write(blob, "data", normal(*blob.shape, seed=i))
    return rig


@pytest.mark.parametrize("kind", KINDS)
def test_two_batches_are_one_long_sequence(kind: str, backend: Backend) -> None:
    x = normal(6, 2, 4)
    cont = np.ones((6, 2))
    cont[0] = 0
    whole = rig_of(kind, backend, x, cont).forward()[0]
    halves = rig_of(kind, backend, x[:3], cont[:3])

    first = halves.forward()[0]
    write(halves.bottom[0], "data", x[3:])
    write(halves.bottom[1], "data", cont[3:])
    second = halves.forward()[0]

    np.testing.assert_allclose(np.concatenate([first, second]), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_cont_zero_forgets_what_was_before(kind: str, backend: Backend) -> None:
    x = normal(5, 1, 4)
    cont = np.array([[0.0], [1], [0], [1], [1]])
    whole = rig_of(kind, backend, x, cont).forward()[0]

    tail = rig_of(kind, backend, x[2:], cont[2:]).forward()[0]

    np.testing.assert_allclose(whole[2:], tail)


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_of_streams_starts_afresh(kind: str, backend: Backend) -> None:
    x, cont = normal(3, 2, 4), np.ones((3, 2))
    rig = rig_of(kind, backend, x, cont)
    rig.forward()
    rig.bottom[0].reshape(3, 1, 4)
    rig.bottom[1].reshape(3, 1)
    write(rig.bottom[0], "data", x[:, :1])
    write(rig.bottom[1], "data", 1)

    fresh = rig_of(kind, backend, x[:, :1], cont[:, :1]).forward()[0]

    np.testing.assert_allclose(rig.forward()[0], fresh)


def test_lstm_equals_the_equations_step_by_step(backend: Backend) -> None:
    x = normal(4, 1, 2)
    rig = rig_of("LSTM", backend, x, np.ones((4, 1)))
    w, b, u = (blob.to_host() for blob in rig.params)
    h = c = np.zeros(3)
    expected = []
    for step in x[:, 0]:
        i, f, o, g = np.split(w @ step + b + u @ h, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        expected.append(h)

    np.testing.assert_allclose(rig.forward()[0][:, 0], expected)
