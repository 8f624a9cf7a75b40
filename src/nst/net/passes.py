"""Pure passes over a net's description: NetParameter in, new NetParameter out.

    filter_layers   keeps the layers whose include/exclude rules fit the state (phase, level, stages)
    insert_splits   gives every blob with several readers a Split layer, named as Caffe names them

No pass changes its argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from nst.errors import NetError, did_you_mean
from nst.proto import LayerParameter, NetParameter, NetState, NetStateRule

TopIndex = tuple[int, int]
"""(layer number, top number): where a blob's current value was written."""


def filter_layers(net: NetParameter, state: NetState) -> NetParameter:
    """Returns the net with `state` set and only the layers that it includes (Caffe's FilterNet).

    Raises NetError for a layer that has include and exclude rules at once.
    """
    kept = NetParameter()
    kept.CopyFrom(net)
    del kept.layer[:]
    kept.state.CopyFrom(state)
    kept.layer.extend(layer for layer in net.layer if _is_included(layer, state))
    return kept


def _is_included(layer: LayerParameter, state: NetState) -> bool:
    if layer.include and layer.exclude:
        raise NetError(
            "Specify either include rules or exclude rules; not both. "
            f"(got {len(layer.include)} include and {len(layer.exclude)} exclude)",
            layer=layer.name,
        )
    if layer.include:
        return any(is_met(rule, state) for rule in layer.include)
    return not any(is_met(rule, state) for rule in layer.exclude)


def is_met(rule: NetStateRule, state: NetState) -> bool:
    """Whether a state fits a rule: phase, level range, all its stages, none of its not_stages."""
    stages = set(state.stage)
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )


def insert_splits(net: NetParameter) -> NetParameter:
    """Returns the net with a Split after every top that has more than one reader.

    A loss weight on a top that is also read counts as a reader and moves to the split's first top.
    With in-place layers the last writer of a name is its producer. Idempotent.

    Raises NetError for a bottom that no earlier layer makes.
    """
    sources = _find_sources(net.layer)
    weights = _explicit_loss_weights(net.layer)
    readers = Counter(sources.values()) + Counter(top for top, weight in weights.items() if weight)
    used: Counter[TopIndex] = Counter(
        top for top, weight in weights.items() if weight and readers[top] > 1
    )
    result = NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    for i, original in enumerate(net.layer):
        layer = result.layer.add()
        layer.CopyFrom(original)
        for j, blob in enumerate(original.bottom):
            top = sources[i, j]
            if readers[top] > 1:
                layer.bottom[j] = f"{_split_name(net, top, blob)}_{used[top]}"
                used[top] += 1
        for j, blob in enumerate(original.top):
            if readers[i, j] > 1:
                weight = weights.get((i, j), 0.0)
                result.layer.append(_split_layer(net, (i, j), blob, readers[i, j], weight))
                if weight:
                    del layer.loss_weight[:]
    return result


def _find_sources(layers: Iterable[LayerParameter]) -> dict[tuple[int, int], TopIndex]:
    """(layer, bottom number) -> the top that it reads: the last writer of that name before it."""
    writers: dict[str, TopIndex] = {}
    sources: dict[tuple[int, int], TopIndex] = {}
    for i, layer in enumerate(layers):
        for j, blob in enumerate(layer.bottom):
            if blob not in writers:
                raise NetError(
                    f"Unknown bottom blob '{blob}' (layer '{layer.name}', bottom index {j}). "
                    f"A layer can only read what an earlier layer makes.{did_you_mean(blob, writers)}",
                    layer=layer.name,
                )
            sources[i, j] = writers[blob]
        for j, blob in enumerate(layer.top):
            writers[blob] = (i, j)
    return sources


def _explicit_loss_weights(layers: Iterable[LayerParameter]) -> dict[TopIndex, float]:
    return {
        (i, j): weight
        for i, layer in enumerate(layers)
        for j, weight in enumerate(layer.loss_weight[: len(layer.top)])
    }


def _split_name(net: NetParameter, top: TopIndex, blob: str) -> str:
    return f"{blob}_{net.layer[top[0]].name}_{top[1]}_split"


def _split_layer(
    net: NetParameter, top: TopIndex, blob: str, readers: int, weight: float
) -> LayerParameter:
    name = _split_name(net, top, blob)
    layer = LayerParameter(name=name, type="Split", bottom=[blob])
    layer.top.extend(f"{name}_{k}" for k in range(readers))
    if weight:
        layer.loss_weight.extend([weight] + [0.0] * (readers - 1))
    return layer
