"""Which engine of cuDNN runs a graph: candidates, filters, timing, and the plan that is kept.

cuDNN's heuristics rank engine configurations; those that change the numbers more than the precision mode
allows are refused, the first few of the rest are built and timed on the GPU, and the fastest is kept, in
memory and in the plan cache. One configuration is finalised once only: cuDNN 9.19 fails to compile a second
plan from it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nst.backend.cuda.cudnn import Cudnn, CudnnError, Node
from nst.backend.cuda.graphs import Graph, build, operand_id
from nst.backend.cuda.numbers import (
    Attribute,
    BehaviorNote,
    Descriptor,
    Heuristic,
    Kind,
    NumericalNote,
)
from nst.backend.cuda.plan_cache import PlanCache

log = logging.getLogger("nst.cuda")

WORKSPACE_LIMIT = 256 << 20
"""Bytes of scratch memory; a plan that wants more is taken only where there is no other."""

CANDIDATES = 8
"""Plans that are timed per graph."""

COMPILED_CANDIDATES = 3
"""... of those that cuDNN compiles in up to two seconds each, if it brings none."""

_ROOM = 64
"""Configurations that are asked for."""


@dataclass(frozen=True)
class Numerics:
    """What engines may do to the numbers. Sums in less than fp32 and results that differ from run to run are
    refused always."""

    tf32: bool
    """Whether fp32 operands may be rounded to 11 bits on the way into the tensor cores."""

    def allows(self, storage: str, notes: Sequence[int]) -> bool:
        refused = {NumericalNote.REDUCED_PRECISION_REDUCTION, NumericalNote.NONDETERMINISTIC}
        if storage in ("fp32", "fp64"):
            refused.add(NumericalNote.FFT)
            if not self.tf32:
                refused |= {NumericalNote.TENSOR_CORE, NumericalNote.DOWN_CONVERT_INPUTS}
        return refused.isdisjoint(notes)


@dataclass(frozen=True)
class Plan:
    """A finalised execution plan."""

    cudnn: Cudnn
    graph: Graph
    node: Node
    workspace: int
    """Bytes of scratch memory."""
    engine: int
    """cuDNN's number of the engine; -1 for a plan from the cache."""

    def bind(self, addresses: Sequence[int], workspace: int) -> Callable[[], None]:
        """A launch on these addresses, in the order of the task's operands; nothing is looked up any more."""
        operands = self.graph.task.value
        if len(addresses) != len(operands):
            raise ValueError(f"{self.graph.task.name} takes {operands} (got {len(addresses)})")
        pack = self.cudnn.node(Descriptor.VARIANT_PACK)
        numbers = [operand_id(self.graph.task, name) for name in operands]
        pack.set(Attribute.VARIANT_PACK_UNIQUE_IDS, Kind.INT64, numbers)
        pack.set(Attribute.VARIANT_PACK_DATA_POINTERS, Kind.VOID_PTR, list(addresses))
        pack.set(Attribute.VARIANT_PACK_WORKSPACE, Kind.VOID_PTR, workspace).finalize()
        node, execute = self.node, self.cudnn.execute
        return lambda: execute(node.pointer, pack.pointer)


Timer = Callable[[Plan], float]
"""Runs a plan on scratch memory; seconds per launch."""


class Planner:
    """Plans for graphs. Without a `timer` the heuristics' first choice is taken. With `tunes`, plans that
    cuDNN compiles compete with those that it brings, which takes seconds per graph.

    `plan` returns None for a graph that no engine runs: the caller then has another way.
    """

    def __init__(
        self,
        cudnn: Cudnn,
        numerics: Numerics,
        cache: PlanCache,
        timer: Timer | None,
        *,
        tunes: bool = False,
    ) -> None:
        self.tunes = tunes
        self.cudnn, self.numerics, self.cache, self.timer = cudnn, numerics, cache, timer
        self._plans: dict[Graph, Plan | None] = {}

    def plan(self, graph: Graph) -> Plan | None:
        """The plan for a graph, made once."""
        if graph not in self._plans:
            self._plans[graph] = self._from_cache(graph) or self._choose(graph)
        return self._plans[graph]

    def candidates(self, graph: Graph) -> Iterator[Plan]:
        """Buildable plans that the numerics allow, best first by cuDNN's own guess."""
        try:
            operations = build(self.cudnn, graph)
        except CudnnError as error:
            log.debug("%s: %s", graph, error)
            return
        later: list[tuple[int, Node]] = []
        found = 0
        for config in self._configurations(operations):
            engine, numerical, behaviour = _notes(config)
            if not self.numerics.allows(graph.storage, numerical):
                continue
            if BehaviorNote.RUNTIME_COMPILATION in behaviour:
                later.append((engine, config))
                continue
            plan = self._finalised(graph, config, engine)
            if plan is not None:
                found += 1
                yield plan
        for engine, config in later[: COMPILED_CANDIDATES if self.tunes or not found else 0]:
            plan = self._finalised(graph, config, engine)
            if plan is not None:
                yield plan

    def _choose(self, graph: Graph) -> Plan | None:
        """The fastest candidate; those with much workspace only where there is no other."""
        frugal: list[Plan] = []
        greedy: list[Plan] = []
        for plan in self.candidates(graph):
            (frugal if plan.workspace <= WORKSPACE_LIMIT else greedy).append(plan)
            if len(frugal) == (CANDIDATES if self.timer else 1):
                break
        plans = frugal or greedy[:1]
        if not plans:
            return None
        if self.timer is None or len(plans) == 1:
            return plans[0]
        seconds, best = min((self._seconds(plan), i) for i, plan in enumerate(plans))
        if seconds == math.inf:
            return plans[0]
        log.info("%s: engine %d, %.1f us", graph.task.name, plans[best].engine, seconds * 1e6)
        self._remember(plans[best], seconds)
        return plans[best]

    def _seconds(self, plan: Plan) -> float:
        """Time per launch; infinite for a plan that cannot be run or has no memory to be tried in."""
        try:
            return self.timer(plan) if self.timer else math.inf
        except (CudnnError, MemoryError) as error:
            log.debug("engine %d: %s", plan.engine, error)
            return math.inf

    def _configurations(self, operations: Node) -> Iterator[Node]:
        for mode in (Heuristic.A, Heuristic.FALLBACK):
            node = self.cudnn.node(Descriptor.ENGINEHEUR)
            node.set(Attribute.ENGINEHEUR_OPERATION_GRAPH, Kind.BACKEND_DESCRIPTOR, operations)
            node.set(Attribute.ENGINEHEUR_MODE, Kind.HEUR_MODE, mode)
            if self.cudnn.device is not None:
                device = self.cudnn.device
                node.set(Attribute.ENGINEHEUR_DEVICEPROP, Kind.BACKEND_DESCRIPTOR, device)
            try:
                node.finalize()
                found = node.get_nodes(Attribute.ENGINEHEUR_RESULTS, Descriptor.ENGINECFG, _ROOM)
            except CudnnError as error:
                log.debug("heuristics %s: %s", mode.name, error)
                continue
            yield from found

    def _finalised(self, graph: Graph, config: Node, engine: int) -> Plan | None:
        node = self._new_plan()
        try:
            node.set(Attribute.EXECUTION_PLAN_ENGINE_CONFIG, Kind.BACKEND_DESCRIPTOR, config)
            node.finalize()
        except CudnnError as error:
            log.debug("engine %d: %s", engine, error)
            return None
        return Plan(self.cudnn, graph, node, _workspace(node), engine)

    def _new_plan(self) -> Node:
        node = self.cudnn.node(Descriptor.EXECUTION_PLAN)
        if self.cudnn.handle is not None:
            node.set(Attribute.EXECUTION_PLAN_HANDLE, Kind.HANDLE, self.cudnn.handle)
        if self.cudnn.device is not None:
            device = self.cudnn.device
            node.set(Attribute.EXECUTION_PLAN_DEVICEPROP, Kind.BACKEND_DESCRIPTOR, device)
        return node

    # ---- the cache ---------------------------------------------------------------------------------

    def _remember(self, plan: Plan, seconds: float) -> None:
        text = plan.node.get_text(Attribute.EXECUTION_PLAN_JSON_REPRESENTATION)
        self.cache.put(self._key(plan.graph), text.decode(), seconds)

    def _from_cache(self, graph: Graph) -> Plan | None:
        """The plan of an earlier process; None if there is none or cuDNN does not take it any more."""
        text = self.cache.get(self._key(graph)) if self.timer else None
        return None if text is None else self._read(graph, text.encode())

    def survives(self, plan: Plan) -> bool:
        """Whether cuDNN takes back what it wrote of a plan; for reports."""
        text = plan.node.get_text(Attribute.EXECUTION_PLAN_JSON_REPRESENTATION)
        return self._read(plan.graph, text) is not None

    def _read(self, graph: Graph, text: bytes) -> Plan | None:
        node = self._new_plan()
        try:
            node.set(Attribute.EXECUTION_PLAN_JSON_REPRESENTATION, Kind.CHAR, text)
            node.finalize()
            return Plan(self.cudnn, graph, node, _workspace(node), -1)
        except CudnnError as error:
            log.debug("a written plan is not taken back: %s", error)
            return None

    def _key(self, graph: Graph) -> str:
        choice = f"tf32 {self.numerics.tf32}; tunes {self.tunes}"
        return f"cuDNN {self.cudnn.version}; {choice}; {graph}"


def _notes(config: Node) -> tuple[int, list[int], list[int]]:
    """(global index, numerical notes, behaviour notes) of a configuration's engine."""
    engine = config.get_nodes(Attribute.ENGINECFG_ENGINE, Descriptor.ENGINE, 1)[0]
    index = engine.get(Attribute.ENGINE_GLOBAL_INDEX, Kind.INT64, 1)[0]
    numerical = engine.get(Attribute.ENGINE_NUMERICAL_NOTE, Kind.NUMERICAL_NOTE, 16)
    behaviour = engine.get(Attribute.ENGINE_BEHAVIOR_NOTE, Kind.BEHAVIOR_NOTE, 16)
    return index, numerical, behaviour


def _workspace(node: Node) -> int:
    return int(node.get(Attribute.EXECUTION_PLAN_WORKSPACE_SIZE, Kind.INT64, 1)[0])
