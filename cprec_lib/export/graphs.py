"""Middle layers as ONNX graphs: over whole histories, and one position further.

The graphs are written node by node. torch's own exporter takes 3 to 8 seconds for each, stores a
shared convolution once for each use, and describes the nodes at greater length than the weights.
"""

from __future__ import annotations

from functools import singledispatch
from typing import cast

import numpy as np
from torch import Tensor, nn

from cprec_lib.compress.compressor import TableConvolution
from cprec_lib.compress.pruning import PrunedTable
from cprec_lib.compress.quantisation import Four, RoundedTable
from cprec_lib.compress.tying import WithOutputLayer
from cprec_lib.export.builder import Graph, Values
from cprec_lib.model.middle import (
    GRU,
    AttentionBlock,
    CausalConvolution,
    CausalLayers,
    DilatedCNN,
    ResidualBlock,
    SelfAttention,
    receptive_field,
)

Lags = tuple[tuple[int, ...], ...]


def last_hidden_graph(middle: CausalLayers, width: int) -> bytes:
    """The graph from `vectors` [B, L, d] of left-padded histories to `hidden` [B, d] at their end.

    `real` [B, L] is False at padding. B and L are free. Raises TypeError for unknown layers.
    """
    graph = Graph()
    mask = graph.add("Cast", graph.add("Unsqueeze", "real", graph.constant([2])), to=1)
    hidden = over_history(middle, graph, graph.add("Mul", "vectors", mask), mask)
    graph.rename(graph.add("Gather", hidden, graph.constant(-1), axis=1), "hidden")
    inputs: Values = {
        "vectors": (np.float32, ["B", "L", width]),
        "real": (np.bool_, ["B", "L"]),
    }
    return graph.to_bytes(inputs, {"hidden": (np.float32, ["B", width])})


def next_position_graph(middle: CausalLayers, width: int) -> bytes:
    """The graph from the `vector` [B, d] of one more item to `hidden` [B, d].

    `past` [B, R, d] has the rows that each layer needs of earlier positions, as `lags` says; those
    before the first position are zero. `rows` [B, layers, d] has each layer's row of this position.
    B is free. Raises TypeError for layers without `lags`.
    """
    known = lags(middle)
    if known is None:
        raise TypeError(f"{type(middle).__name__} cannot go on from what it computed")
    graph, n_past = Graph(), sum(map(len, known))
    flat = graph.add("Reshape", "past", graph.constant([0, n_past * width]))
    parts = graph.add_several("Split", len(known), flat, axis=1, num_outputs=len(known))
    hidden, rows = one_position(middle, graph, "vector", parts)
    together = graph.add("Concat", *rows, axis=1)
    graph.rename(hidden, "hidden")
    graph.rename(graph.add("Reshape", together, graph.constant([0, len(known), width])), "rows")
    inputs: Values = {
        "vector": (np.float32, ["B", width]),
        "past": (np.float32, ["B", n_past, width]),
    }
    outputs: Values = {
        "hidden": (np.float32, ["B", width]),
        "rows": (np.float32, ["B", len(known), width]),
    }
    return graph.to_bytes(inputs, outputs)


@singledispatch
def over_history(middle: CausalLayers, graph: Graph, hidden: str, mask: str) -> str:
    """Add `apply_layers` to a graph: [B, L, d] and the mask [B, L, 1] to [B, L, d]."""
    raise TypeError(f"no graph for {type(middle).__name__} yet")


@singledispatch
def one_position(
    middle: CausalLayers, graph: Graph, hidden: str, past: list[str]
) -> tuple[str, list[str]]:
    """Add one position to a graph: hidden [B, d], and each layer's past rows [B, its lags times d].

    Returns hidden [B, d] after all layers, and each layer's row of this position.
    """
    raise TypeError(f"{type(middle).__name__} cannot go on from what it computed")


@singledispatch
def lags(middle: CausalLayers) -> Lags | None:
    """How many positions back the rows lie that each layer needs; None if it cannot go on.

    Attention cannot: it needs the keys and values of all positions, and its learned positions count
    from the first item of the window, so beyond `max_positions` a new item would change them all.
    """
    return None


@singledispatch
def window(middle: CausalLayers) -> int | None:
    """Number of last items on which a prediction depends; None for all of them."""
    return None


# ---- A dilated CNN: the rows of a layer are the inputs of its convolution ----


@over_history.register
def _(middle: DilatedCNN, graph: Graph, hidden: str, mask: str) -> str:
    for block in _blocks(middle):
        inner = _taps(graph, hidden, _taps_of(block.conv1), block.dilation)
        inner = graph.add("Mul", _convolve(graph, block.conv1, block.norm1, inner), mask)
        inner = _taps(graph, inner, _taps_of(block.conv2), 2 * block.dilation)
        inner = graph.add("Mul", _convolve(graph, block.conv2, block.norm2, inner), mask)
        hidden = graph.add("Add", hidden, inner)
    return hidden


@one_position.register
def _(middle: DilatedCNN, graph: Graph, hidden: str, past: list[str]) -> tuple[str, list[str]]:
    earlier, rows = iter(past), []
    for block in _blocks(middle):
        inner = hidden
        for layer, norm in ((block.conv1, block.norm1), (block.conv2, block.norm2)):
            rows.append(inner)
            taps = graph.add("Concat", next(earlier), inner, axis=1)
            inner = _convolve(graph, layer, norm, taps)
        hidden = graph.add("Add", hidden, inner)
    return hidden, rows


@lags.register
def _(middle: DilatedCNN) -> Lags | None:
    found = tuple(
        tuple(tap * scale * block.dilation for tap in range(_taps_of(block.conv1) - 1, 0, -1))
        for block in _blocks(middle)
        for scale in (1, 2)
    )
    return found if any(found) else None  # no layer looks back


@window.register
def _(middle: DilatedCNN) -> int | None:
    taps = max((_taps_of(block.conv1) for block in _blocks(middle)), default=1)
    return receptive_field([block.dilation for block in _blocks(middle)], taps)


def _blocks(middle: DilatedCNN) -> list[ResidualBlock]:
    return cast(list[ResidualBlock], [*middle.blocks])


def _taps_of(convolution: CausalConvolution) -> int:
    return int(convolution.weight.shape[-1])


def _taps(graph: Graph, hidden: str, count: int, dilation: int) -> str:
    """The inputs of a convolution, gathered: [B, L, d] to [B, L, count d]."""
    reach, axis = (count - 1) * dilation, graph.constant([1])
    padded = graph.add("Pad", hidden, graph.constant([0, reach, 0, 0, 0, 0]))
    starts = range(0, reach + 1, dilation)
    ends = [start - reach or np.iinfo(np.int64).max for start in starts]
    taps = [
        graph.add("Slice", padded, graph.constant([start]), graph.constant([end]), axis)
        for start, end in zip(starts, ends, strict=True)
    ]
    return graph.add("Concat", *taps, axis=2)


def _convolve(graph: Graph, layer: CausalConvolution, norm: nn.LayerNorm, taps: str) -> str:
    """ReLU(LN(W taps + b)) of gathered inputs [..., k d]."""
    product = graph.add("MatMul", taps, transposed(layer, graph))
    biased = graph.add("Add", product, _weight(graph, layer.bias))
    return graph.add("Relu", _normalise(graph, norm, biased))


# ---- A GRU: the row of a layer is its state ----


@over_history.register
def _(middle: GRU, graph: Graph, hidden: str, mask: str) -> str:
    # ONNX's GRU takes [L, B, d], and gives [L, directions, B, d].
    hidden = graph.add("Transpose", hidden, perm=[1, 0, 2])
    for layer in middle.layers:
        states = _gru(graph, layer, hidden)[0]
        hidden = graph.add("Squeeze", states, graph.constant([1]))
    return graph.add("Mul", graph.add("Transpose", hidden, perm=[1, 0, 2]), mask)


@one_position.register
def _(middle: GRU, graph: Graph, hidden: str, past: list[str]) -> tuple[str, list[str]]:
    rows, axis = [], graph.constant([0])
    for layer, state in zip(middle.layers, past, strict=True):
        hidden = graph.add("Unsqueeze", hidden, axis)
        state = graph.add("Unsqueeze", state, axis)
        hidden = graph.add("Squeeze", _gru(graph, layer, hidden, state)[1], axis)
        rows.append(hidden)
    return hidden, rows


@lags.register
def _(middle: GRU) -> Lags | None:
    return ((1,),) * len(middle.layers)


def _gru(graph: Graph, layer: nn.Module, hidden: str, state: str = "") -> list[str]:
    """All states and the last one of a layer over [L, B, d], from a state [1, B, d] or zero."""
    weights = []
    for name in ("weight_ih_l0", "weight_hh_l0"):
        reset, update, new = layer.get_parameter(name).detach().chunk(3)
        weights.append(graph.constant(np.concatenate([update, reset, new])[None]))
    given = [hidden, *weights, "", "", *([state] if state else [])]
    size = layer.get_parameter("weight_hh_l0").shape[1]
    # torch applies the reset gate after the product with the state.
    return graph.add_several("GRU", 2, *given, hidden_size=size, linear_before_reset=1)


# ---- Self-attention ----


@over_history.register
def _(middle: SelfAttention, graph: Graph, hidden: str, mask: str) -> str:
    one, zero = graph.constant(np.int64(1)), graph.constant(np.int64(0))
    is_real = graph.add("Cast", "real", to=7)
    count = graph.add("CumSum", is_real, one)
    ordinal = graph.add("Max", graph.add("Sub", count, one), zero)
    scaled = graph.add("Mul", hidden, graph.constant(np.float32(middle.positions.shape[1] ** 0.5)))
    numbered = graph.add("Gather", _weight(graph, middle.positions), ordinal)
    hidden, blind = graph.add("Add", scaled, numbered), _blind(graph)
    for block in middle.blocks:
        hidden = _attend(graph, cast(AttentionBlock, block), hidden, blind)
    return graph.add("Mul", _normalise(graph, middle.norm, hidden), mask)


@window.register
def _(middle: SelfAttention) -> int | None:
    return len(middle.positions)


def _blind(graph: Graph) -> str:
    """What to add to the logits of attention, [B, 1, L, L]: -inf where a position sees nothing."""
    one = graph.constant(np.int64(1))
    every = graph.add("Cast", graph.add("Or", "real", graph.add("Not", "real")), to=7)
    place = graph.add("CumSum", every, one)
    here = graph.add("Unsqueeze", place, graph.constant([1, 3]))
    there = graph.add("Unsqueeze", place, graph.constant([1, 2]))
    real = graph.add("Unsqueeze", "real", graph.constant([1, 2]))
    # A padded position must see itself: the softmax over no position is NaN.
    known = graph.add("Or", real, graph.add("Equal", here, there))
    seen = graph.add("And", known, graph.add("GreaterOrEqual", here, there))
    numbers = graph.constant(np.float32(0)), graph.constant(np.float32(-np.inf))
    return graph.add("Where", seen, *numbers)


def _attend(graph: Graph, block: AttentionBlock, hidden: str, blind: str) -> str:
    """An `AttentionBlock`, [B, L, d] to [B, L, d]."""
    width = block.norm1.normalized_shape[0]
    projected = linear(graph, block.projection, _normalise(graph, block.norm1, hidden))
    parts = graph.add_several("Split", 3, projected, axis=2, num_outputs=3)
    shape = graph.constant([0, 0, block.heads, width // block.heads])
    query, key, value = (graph.add("Reshape", part, shape) for part in parts)
    query, value = (graph.add("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
    key = graph.add("Transpose", key, perm=[0, 2, 3, 1])
    scale = graph.constant(np.float32((width // block.heads) ** -0.5))
    logits = graph.add("Mul", graph.add("MatMul", query, key), scale)
    weights = graph.add("Softmax", graph.add("Add", logits, blind), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, value), perm=[0, 2, 1, 3])
    hidden = graph.add("Add", hidden, graph.add("Reshape", mixed, graph.constant([0, 0, width])))
    first, _, second = cast(list[nn.Linear], block.feed_forward)
    inner = linear(graph, first, _normalise(graph, block.norm2, hidden))
    return graph.add("Add", hidden, linear(graph, second, graph.add("Relu", inner)))


# ---- Layers of a tied model ----


@over_history.register
def _(middle: WithOutputLayer, graph: Graph, hidden: str, mask: str) -> str:
    return linear(graph, middle.output, over_history(middle.layers, graph, hidden, mask))


@one_position.register
def _(middle: WithOutputLayer, graph: Graph, hidden: str, past: list[str]) -> tuple[str, list[str]]:
    hidden, rows = one_position(middle.layers, graph, hidden, past)
    return linear(graph, middle.output, hidden), rows


@lags.register
def _(middle: WithOutputLayer) -> Lags | None:
    return lags(middle.layers)


@window.register
def _(middle: WithOutputLayer) -> int | None:
    return window(middle.layers)


# ---- Parts of several ----


def _weight(graph: Graph, weight: Tensor) -> str:
    return graph.constant(weight.detach())


@singledispatch
def transposed(layer: nn.Module, graph: Graph) -> str:
    """Add the transposed matrix of a layer to a graph."""
    return _weight(graph, cast(Tensor, layer.weight).T)


@transposed.register
def _(layer: CausalConvolution, graph: Graph) -> str:
    return _weight(graph, layer.weight.transpose(1, 2).flatten(1).T)


@transposed.register
def _(layer: TableConvolution, graph: Graph) -> str:
    return transposed(layer.table, graph)


@transposed.register
def _(layer: RoundedTable, graph: Graph) -> str:
    """The codes stay packed in the file; the runtime unpacks them once, when it reads the graph."""
    codes = _weight(graph, layer.codes)
    if layer.format is Four:
        low = graph.add("BitwiseAnd", codes, graph.constant(np.uint8(15)))
        high = graph.add("BitShift", codes, graph.constant(np.uint8(4)), direction="RIGHT")
        ends = (graph.constant([end]) for end in (0, layer.columns, 1))  # the axis is the last
        codes = graph.add("Slice", graph.add("Concat", low, high, axis=1), *ends)
    offset = graph.constant(np.float32(layer.format.offset))
    numbers = graph.add("Sub", graph.add("Cast", codes, to=1), offset)
    rows, groups = layer.scales.shape
    grouped = graph.add("Reshape", numbers, graph.constant([rows, groups, -1]))
    scaled = graph.add("Mul", grouped, _weight(graph, layer.scales.float().unsqueeze(2)))
    matrix = graph.add("Reshape", scaled, graph.constant([rows, layer.columns]))
    return graph.add("Transpose", matrix, perm=[1, 0])


@transposed.register
def _(layer: PrunedTable, graph: Graph) -> str:
    """The file has the kept weights; the runtime puts them into a matrix once, as above."""
    rows, columns, n_kept = len(layer.ends), layer.columns, len(layer.values)
    # The row of a weight is the number of rows that end at its place or before. So each row adds
    # a one where it ends, and these are summed; the last rows end behind the last weight.
    ends = graph.add("Cast", _weight(graph, layer.ends), to=7)
    none, ones = _filled(graph, np.int64(0), n_kept + 1), _filled(graph, np.int64(1), rows)
    ended = graph.add("ScatterElements", none, ends, ones, axis=0, reduction="add")
    inside = graph.add("Slice", ended, graph.constant([0]), graph.constant([n_kept]))
    row = graph.add("CumSum", inside, graph.constant(np.int64(0)))
    start = graph.add("Mul", row, graph.constant(np.int64(columns)))
    place = graph.add("Add", start, graph.add("Cast", _weight(graph, layer.places), to=7))
    values = graph.add("Cast", _weight(graph, layer.values), to=1)
    zeros = _filled(graph, np.float32(0), rows * columns)
    flat = graph.add("ScatterElements", zeros, place, values, axis=0)
    matrix = graph.add("Reshape", flat, graph.constant([rows, columns]))
    return graph.add("Transpose", matrix, perm=[1, 0])


def _filled(graph: Graph, value: np.generic, size: int) -> str:
    """A vector of equal numbers, which takes no room in the file."""
    return graph.add("Expand", graph.constant(value), graph.constant([size]))


def linear(graph: Graph, layer: nn.Module, hidden: str) -> str:
    """Add a linear layer to a graph."""
    product = graph.add("MatMul", hidden, transposed(layer, graph))
    bias = getattr(layer, "bias", None)
    return product if bias is None else graph.add("Add", product, _weight(graph, bias))


def _normalise(graph: Graph, norm: nn.LayerNorm, hidden: str) -> str:
    scale, shift = _weight(graph, norm.weight), _weight(graph, norm.bias)
    return graph.add("LayerNormalization", hidden, scale, shift, epsilon=norm.eps)
