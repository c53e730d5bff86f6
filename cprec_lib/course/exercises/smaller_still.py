"""Exercises of notebook 09: a scale for each group, the bytes of a rounded table, four bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cprec_lib.course.exercises.problem import Problem

# A scale for each group


def there_and_back(weights: Tensor, largest: int, group: int) -> Tensor:
    """Weights [rows, columns] after rounding with a scale for each group of columns."""
    groups = weights.unflatten(1, (-1, group))
    scales = groups.abs().amax(2, keepdim=True) / largest
    codes = (groups / scales.where(scales > 0, 1)).round()
    rounded: Tensor = (codes * scales).flatten(1)
    return rounded


scale_a_group = Problem(
    title="A scale for each group",
    task="Round a matrix with a scale for each group of neighbouring columns, and turn it back.",
    minutes=11,
    difficulty="medium",
    optional=True,
    purpose="For keeping an outlier's damage inside its group.",
    answer=there_and_back,
    cases=(
        (torch.tensor([[0.5, -1.0, 7.0, 3.4]]), 7, 2),
        (torch.tensor([[-1.0, 0.3, 0.2, 0.7], [6.0, -7.0, 0.5, 0.1]]), 7, 2),
        (torch.tensor([[0.0, 0.0, 1.0, -0.6]]), 7, 2),
        (torch.tensor([[2.54, -0.013, 1.0, 0.5, 0.25, 0.125]]), 127, 3),
    ),
    wrong="""
    amax(2, keepdim=True) => amax((1, 2), keepdim=True)
        One scale for the whole row: the largest weight decides for all groups. Take the maximum in
        each group.
    amax(2, keepdim=True) => amax((0, 2), keepdim=True)
        Groups of different rows share a scale here. Each row has its own.
    amax(2, keepdim=True) => amax()
        The whole matrix has one scale here. Take the maximum in each group of each row.
    unflatten(1, (-1, group)) => unflatten(1, (group, -1))
        `group` is taken as the number of groups. It is the number of columns in a group.
    groups.abs().amax => groups.amax
        The largest weight of a group may be negative. Take absolute values first.
    scales.where(scales > 0, 1) => scales
        A group of zeros has the scale 0, and 0 / 0 is NaN. Divide by 1 there.
    .round() => .trunc()
        The digits are cut off here. Round to the nearest whole number.
    (codes * scales).flatten(1) => codes.flatten(1)
        These are the codes. Multiply them by their scales to turn them back into weights.
    amax(2, keepdim=True) / largest => amax(2, keepdim=True) / (largest + 1)
        The largest weight of a group gets the code `largest`, so divide by `largest`.
    keepdim=True) / largest => keepdim=True).div(largest).bfloat16().float()
        The scales are cut to bfloat16. Here they stay float32; a later exercise cuts them.
    unflatten(1, (-1, group)) => unflatten(1, (group, -1)).transpose(1, 2)
    .flatten(1) => .transpose(1, 2).flatten(1)
        A group consists of neighbouring columns. Here its columns lie apart.
    """,
    hints=(
        "`weights.unflatten(1, (-1, group))` has the shape [rows, groups, columns of a group].",
        "The scale of a group is its largest absolute value divided by `largest`. `keepdim=True` "
        "keeps the shape that can be divided by.",
        "Codes are rounded quotients; codes times scales are the weights. `flatten(1)` restores "
        "the shape. Replace a scale of 0 before you divide.",
    ),
    why="An outlier now costs its group alone. The price is one more scale for each group.",
)

# Bytes


def stored_bytes(rows: int, columns: int, bits: int, group: int) -> int:
    """Bytes of a rounded table: the codes of each row, and two bytes a group for its scale."""
    codes = -(-columns * bits // 8)
    return rows * (codes + 2 * (columns // group))


bytes_of_a_table = Problem(
    title="Count every byte",
    task="Compute the bytes of a rounded table, with its scales.",
    minutes=6,
    difficulty="easy",
    optional=True,
    purpose="For knowing the size of a file before it is written.",
    answer=stored_bytes,
    cases=(
        (10, 8, 8, 8),
        (100, 32, 4, 16),
        (3, 5, 4, 5),
        (3, 64, 8, 16),
        (3, 6, 4, 3),
    ),
    wrong="""
    codes + 2 * (columns // group) => codes
        The scales are missing. Without them no code can be turned back into a weight.
    2 * (columns // group) => 4 * (columns // group)
        A scale has two bytes here, not four: it is a bfloat16.
    2 * (columns // group) => 2
        Each row has only one scale here. It needs one for each of its groups.
    2 * (columns // group) => 2 * group
        `group` is the number of columns in a group, not the number of groups in a row.
    -(-columns * bits // 8) => columns // group * -(-group * bits // 8)
        The codes are rounded up to whole bytes in each group here. A row is packed as a whole.
    lambda rows, columns, bits, group: (
    -(-rows * columns * bits // 8) + 2 * rows * (columns // group))
        The codes of the whole table are rounded up together. Each row starts with a new byte, so
        round up for a row.
    -(-columns * bits // 8) => columns * bits / 8
        The codes of a row end in a part of a byte here. A file has whole bytes only: round up.
    -(-columns * bits // 8) => columns * bits // 8
        A row with an odd number of 4-bit codes ends in half a byte. A file has no half bytes: round
        up.
    -(-columns * bits // 8) => columns * bits
        These are bits. A byte has eight of them.
    -(-columns * bits // 8) => columns
        Every code has a byte of its own here. Two codes of 4 bits fit into one byte.
    """,
    hints=(
        "Count one row first: the bits of its codes, in whole bytes. Then its groups.",
        "A row has `columns // group` groups, and each has a scale of two bytes.",
        "`//` rounds down. To round up, divide the negative number and negate the result, or use "
        "`math.ceil`.",
    ),
    why="With groups of 16, a 4-bit weight costs 4 + 16 / 16 = 5 bits, so the table is 6.4 times "
    "smaller than in float32, not 8 times.",
)

# Four bits


class Int4Table:
    """A matrix [rows, columns] in 4 bits: two codes a byte, and a bfloat16 scale a group."""

    def __init__(self, weights: Tensor, group: int):
        groups = weights.unflatten(1, (-1, group))
        self.scales = (groups.abs().amax(2) / 7).bfloat16()
        codes = (groups / self.scales[..., None]).round().flatten(1) + 8
        low, high = codes.to(torch.uint8).chunk(2, 1)
        self.packed = low | (high << 4)

    def rows(self, index: Tensor) -> Tensor:
        """The rows [n, columns] of an index [n]; only these are unpacked."""
        packed, scales = self.packed[index], self.scales[index].float()
        codes = torch.cat([packed & 15, packed >> 4], 1) - 8.0
        groups = codes.unflatten(1, (scales.shape[1], -1))
        values: Tensor = (groups * scales[..., None]).flatten(1)
        return values


class _Largest(TorchFunctionMode):
    """Notes the size of the largest tensor that is made; a view makes none."""

    def __init__(self, table: Any) -> None:
        super().__init__()
        self.own = {_place(tensor) for tensor in _tensors_of(table)}
        self.size = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and _place(result) not in self.own:
            self.size = max(self.size, result.numel())
        return result


def _tensors_of(table: Any) -> list[Tensor]:
    return [value for value in vars(table).values() if isinstance(value, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _use_table(answer: Any, weights: Tensor, group: int, index: Tensor) -> Any:
    table = answer(weights, group)
    with _Largest(table) as largest:
        rows = table.rows(index)
    if rows is None and not vars(table):
        return None
    codes, scales = table.packed.nbytes, table.scales.nbytes
    kept = sum(tensor.nbytes for tensor in _tensors_of(table))
    return {
        "the rows": rows,
        "the bytes of the codes": codes,
        "the bytes of the scales": scales,
        "it unpacks other rows": largest.size > 2 * len(index) * weights.shape[1],
        "it keeps more than codes and scales": kept > 2 * (codes + scales) + 64,
    }


_draw = torch.Generator().manual_seed(0)

four_bits = Problem(
    title="Two codes in a byte",
    task="Store a matrix in 4 bits, two codes to a byte, and read some of its rows.",
    minutes=30,
    difficulty="hard",
    purpose="For storing a table in a sixth of its bytes and still reading single rows.",
    answer=Int4Table,
    use=_use_table,
    cases=(
        (torch.tensor([[7.0, -3.0, 1.0, -7.0]]), 4, torch.tensor([0])),
        (torch.tensor([[0.7, -0.3, -2.0, 14.0], [1.0, -7.0, 3.5, 2.0]]), 2, torch.tensor([1, 0])),
        (torch.randn(5, 32, generator=_draw), 16, torch.tensor([4, 4, 0])),
        (torch.randn(9, 8, generator=_draw), 4, torch.arange(9)),
        (torch.randn(64, 16, generator=_draw), 8, torch.tensor([63, 0])),
    ),
    wrong="""
    low | (high << 4) => torch.cat([low, high], 1)
    torch.cat([packed & 15, packed >> 4], 1) => packed
        A pair of codes takes two bytes here. It fits into one, a `torch.uint8`: put the second code
        into its upper four bits.
    low | (high << 4) => low | high
        Both codes lie in the lower four bits, where they overwrite each other. Shift one of them by
        four.
    [packed & 15, packed >> 4] => [packed >> 4, packed & 15]
        The two codes of a byte come back in the wrong order.
    [packed & 15, packed >> 4] => [packed, packed >> 4]
        The byte still holds the upper code when you read the lower one. `& 15` keeps the lower four
        bits.
    .flatten(1) + 8 => .flatten(1)
    .to(torch.uint8) => .to(torch.int8).view(torch.uint8)
    - 8.0 => - 0.0
        A negative number has its upper bits set, and they spill into the other code. Add 8 before
        packing and subtract it afterwards.
    low | (high << 4) => (low & 15) | (high << 4)
    .flatten(1) + 8 => .flatten(1)
    .to(torch.uint8) => .to(torch.int8).view(torch.uint8)
    - 8.0 => - 0.0
        A negative code comes back positive: the four bits of -3 read as 13. Add 8 before packing
        and subtract it afterwards.
    .to(torch.uint8) => .to(torch.int8)
        int8 has a sign, so `>> 4` brings it back with the upper code. Pack into `torch.uint8`.
    - 8.0 => - 8
        uint8 has no negative numbers, so 5 - 8 gives 253. Turn the codes into floats, then subtract
        8.
    - 8.0 => - 0.0
        You added 8 before packing. Subtract it after unpacking.
    groups / self.scales[..., None] => groups / (groups.abs().amax(2, keepdim=True) / 7)
        The weights are divided by the scales before they were rounded to bfloat16. Divide by the
        scales that are stored, because these will be multiplied with the codes.
    (groups * scales[..., None]).flatten(1) => codes * scales.repeat(1, groups.shape[2])
        Columns get the scale of another group: `repeat` puts copies of all scales one after
        another. `repeat_interleave` repeats each scale in its place.
    .amax(2) / 7 => .amax(2) / 8
        Codes go from -7 to 7: the largest weight of a group gets 7. Dividing by 8 would need the
        code 8, which does not fit.
    .amax(2) / 7 => .amax((1, 2)).div(7)[:, None].repeat(1, groups.shape[1])
        All groups of a row have the same scale here. Take the maximum in each group.
    groups.abs().amax => groups.amax
        The largest weight of a group may be negative. Take absolute values first.
    .round() => .trunc()
        The digits are cut off here. Round to the nearest whole number.
    .bfloat16() =>
        The scales have four bytes each. Turn them into bfloat16, and divide by the result.
    self.packed[index] => self.packed
    self.scales[index] => self.scales
        All rows of the table come back. Return only those of the index.
    [packed & 15, packed >> 4], 1) => [self.packed & 15, self.packed >> 4], 1)[index]
        The rows are right, but the whole table is unpacked for them. A request needs a few rows:
        index before you unpack.
    self.scales = => self.weights = weights; self.scales =
        The rows are right, but the table keeps more than its codes and scales, so it is not small.
    """,
    hints=(
        "Begin with a scale for each group and codes from -7 to 7. Turn the scales into bfloat16 "
        "before you divide.",
        "Add 8, so that a code is a whole number from 1 to 15, and convert to `torch.uint8`. "
        "`chunk(2, 1)` gives the left and the right half of each row.",
        "Shift one half by four bits and join both with `|`. To unpack, `& 15` gives the lower "
        "four bits and `>> 4` the upper four.",
        "Index `packed` and `scales` first. Subtract 8 as a float (`- 8.0`), because uint8 knows "
        "no negative numbers.",
    ),
    why="The library's `Rounding(4, 16)` stores the same bytes. In a search it also avoids the "
    "unpacked rows: it multiplies codes by the hidden vector, and sums by scales.",
)
