"""Old forms of nets and solvers to the current one."""

from __future__ import annotations

from nst.proto import NetParameter, SolverParameter


def upgrade_net(net: NetParameter, path: str = "<net>") -> NetParameter:
    """Returns the net in the current form; the argument is left as it is."""
    return net


def upgrade_solver(solver: SolverParameter, path: str = "<solver>") -> SolverParameter:
    """Returns the solver settings in the current form; the argument is left as it is."""
    return solver
