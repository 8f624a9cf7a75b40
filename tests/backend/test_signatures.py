"""Every backend has exactly the members of the contract, with the same parameters."""

from __future__ import annotations

import inspect

import pytest

from nst.backend import Backend, available_backends, get_backend
from nst.errors import BackendUnavailable, UsageError

MEMBERS = sorted(Backend.__abstractmethods__)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_takes_the_parameters_of_the_contract(member: str, backend: Backend) -> None:
    contract = inspect.signature(getattr(Backend, member)).parameters
    actual = inspect.signature(getattr(type(backend), member)).parameters

    assert [(p.name, p.kind, p.default) for p in actual.values()] == [
        (p.name, p.kind, p.default) for p in contract.values()
    ]


def test_the_contract_stays_small() -> None:
    assert len(MEMBERS) <= 24


def test_auto_takes_the_first_that_is_available() -> None:
    first = next(row.name for row in available_backends() if row.available)

    assert get_backend("auto").name == first


def test_an_unknown_backend_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown name \(got 'nunpy', .*Did you mean 'numpy'\?"):
        get_backend("nunpy")


def test_a_backend_that_is_missing_is_never_replaced_silently() -> None:
    missing = [row for row in available_backends() if not row.available]

    for row in missing:
        with pytest.raises(BackendUnavailable, match=f"backend '{row.name}' is not available: "):
            get_backend(row.name)
