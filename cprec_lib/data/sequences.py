"""A table of interactions becomes a catalogue ordered by popularity, a split, and windows."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cprec_lib.checks import check_choice, whole_number

Split = Literal["leave_one_out", "by_user", "by_time", "by_time_first", "by_time_last"]
SPLITS: tuple[Split, ...] = get_args(Split)
PERIODS = (81, 90)
"""Percent of all interactions before the validation and before the test period."""
NO_TIMES = (
    "the log has an order but no times: every user's timestamps count 0, 1, 2 and so on; use "
    "split='leave_one_out' or 'by_user'"
)


@dataclass(frozen=True)
class Catalogue:
    """Items numbered 1..N by falling count in the training part, ties by original id.

    `items` [N] are the original ids and `counts` [N] the training counts of the items 1..N. Items
    that occur only in the held-out parts have count 0 and come last.
    """

    items: np.ndarray
    counts: np.ndarray

    @property
    def n_items(self) -> int:
        """Number of items N."""
        return len(self.items)

    def ids(self, originals: Iterable[Any]) -> list[int]:
        """Item ids 1..N of original ids. Raises ValueError for one not in the catalogue."""
        index = pd.Index(self.items)
        originals = list(originals)
        positions = index.get_indexer(originals)
        for original, position in zip(originals, positions, strict=True):
            if position < 0:
                near = get_close_matches(str(original), index.astype(str), n=3)
                hint = f"; the nearest are {', '.join(near)}" if near else ""
                raise ValueError(f"item {original!r} is not in the catalogue{hint}")
        return [int(position) + 1 for position in positions]

    def originals(self, ids: Iterable[int]) -> list[Any]:
        """Original ids of item ids. Raises ValueError for an id outside 1..N."""
        ids = [int(i) for i in ids]
        for i in ids:
            if not 1 <= i <= self.n_items:
                raise ValueError(
                    f"item id {i} is outside 1..{self.n_items}; 0 is padding and has no original"
                )
        return [self.items[i - 1] for i in ids]


@dataclass(frozen=True)
class HeldOut:
    """One prediction per tested user: left-padded `contexts` [U, L] and `targets` [U]."""

    contexts: Tensor
    targets: Tensor


@dataclass(frozen=True)
class SequenceData:
    """Training windows and held-out predictions over one catalogue.

    `train` [W, L + 1] are left-padded windows that overlap by one item, so that each transition
    of a user's training sequence is in exactly one of them. Training reads `block` in a row.
    """

    catalogue: Catalogue
    train: Tensor
    valid: HeldOut
    test: HeldOut
    max_len: int
    split: Split
    dropped_users: int
    split_seed: int = 0
    block: int = 1

    @property
    def n_items(self) -> int:
        """Number of items N in the catalogue."""
        return self.catalogue.n_items

    def check_trainable(self) -> None:
        """Raise ValueError without training windows: each needs two items in a row."""
        if not len(self.train):
            raise ValueError(
                "nothing to train on: leave-one-out holds out 2 interactions of each user and "
                "needs a user with 4, or split by user (split='by_user', --split by_user)"
            )

    @classmethod
    def from_interactions(
        cls,
        table: pd.DataFrame,
        max_len: Annotated[int, "Positions that the model sees."] = 50,
        split: Annotated[Split, "What is held out."] = "leave_one_out",
        seed: Annotated[int, "Seed of the split, by user or by time."] = 0,
    ) -> SequenceData:
        """Order each user's interactions by time, split them, number the items, cut windows.

        `table` has columns user, item, timestamp; equal times of a user keep the table's order.
        "leave_one_out": each user's last item is the test target, the one before it the validation
        target, the rest is for training. "by_user": `seed` draws 80 % of the users for training,
        10 % for validation and 10 % for test, whose last items are the targets. "by_time": the last
        tenth of all interactions is the test period, the last tenth before it the validation
        period, and the rest is for training; of each user's items in a period, `seed` draws one as
        the target ("by_time_first" and "by_time_last" take the first and the last), and what the
        user did before it is the context. `max_len` is the number L of positions that the model
        sees. Users with fewer than 3 interactions (2 unless "leave_one_out") are dropped with a
        warning. Raises ValueError for a table that cannot be used.
        """
        max_len = whole_number("max_len", max_len, least=1)
        check_choice("split", split, SPLITS)
        _check_table(table)
        items, codes, times, starts, ends, dropped = _order(table, 2 + (split == "leave_one_out"))
        if split.startswith("by_time"):
            cuts = moments(np.sort(times))
            reached = [reach(times, starts, ends, moment) for moment in cuts]
            if only_numbered(times, starts, ends):
                raise ValueError(NO_TIMES)
            bounds = split_by_time(starts, ends, reached, split, seed)
        else:
            bounds = split_users(starts, ends, split, seed)
        counts = count(codes, *bounds["train"], len(items))
        order = np.argsort(-counts, kind="stable")
        ids = np.empty(len(items), dtype=np.int64)
        ids[order] = np.arange(1, len(items) + 1)
        sequence = ids[codes]
        return cls(
            Catalogue(items[order], counts[order]),
            windows(sequence, *bounds["train"], max_len),
            held_out(sequence, *bounds["valid"], max_len),
            held_out(sequence, *bounds["test"], max_len),
            max_len,
            split,
            dropped,
            seed,
        )


def _check_table(table: pd.DataFrame) -> None:
    names = ("user", "item", "timestamp")
    if missing := [name for name in names if name not in table.columns]:
        raise ValueError(
            f"column {missing[0]!r} is missing; the table has {list(table.columns)} and needs "
            "user, item and timestamp"
        )
    if table.empty:
        raise ValueError("the table is empty; it needs at least one user with 3 interactions")
    kind = table["timestamp"].dtype
    types = pd.api.types
    if not (types.is_any_real_numeric_dtype(kind) or types.is_datetime64_any_dtype(kind)):
        raise ValueError(
            f"timestamp has the type {kind}, which may not sort by time; make it numbers or dates, "
            'as in table["timestamp"] = pd.to_datetime(table["timestamp"])'
        )
    for name in names:
        wrong = table[name].isna()
        if name == "timestamp" and pd.api.types.is_float_dtype(table[name]):
            wrong |= np.isinf(table[name])
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{int(wrong.sum())} rows have no usable {name}, the first is row {row} "
                f"({table[name].iloc[row]}); drop or repair them"
            )


def _order(
    table: pd.DataFrame, shortest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Put the rows in (user, time) order and drop users with fewer than `shortest` of them.

    Returns the sorted original item ids, the code of each row's item, each row's time, the start
    and end of each user's rows, and the number of users dropped.
    """
    if not _is_ordered(table):
        table = table.sort_values(["user", "timestamp"], kind="stable")
    starts = np.flatnonzero(_changes(table["user"]))
    lengths = np.diff(starts, append=len(table))
    long_enough = lengths >= shortest
    dropped = int(np.sum(~long_enough))
    check_lengths(dropped, len(lengths) - dropped, shortest, int(lengths.max()))
    kept = np.repeat(long_enough, lengths)
    codes, items = pd.factorize(table["item"].values[kept], sort=True)
    times = table["timestamp"].to_numpy()[kept]
    ends = lengths[long_enough].cumsum()
    return np.asarray(items), codes, times, ends - lengths[long_enough], ends, dropped


def check_lengths(dropped: int, kept: int, shortest: int, longest: int) -> None:
    """Warn of dropped users. Raises ValueError if none is kept."""
    if dropped:
        warnings.warn(
            f"{dropped} of {dropped + kept} users have fewer than {shortest} "
            "interactions, too few to split, and were dropped",
            stacklevel=4,
        )
    if not kept:
        raise ValueError(
            f"no user has the {shortest} interactions that the split needs; the longest history "
            f"has {longest}"
        )


def _is_ordered(table: pd.DataFrame) -> bool:
    """Whether the rows are in (user, time) order already, as those of `load_interactions` are."""
    times = table["timestamp"].array
    later = np.asarray(times[1:] >= times[:-1], dtype=bool)
    return table["user"].is_monotonic_increasing and bool(
        (_changes(table["user"])[1:] | later).all()
    )


def _changes(values: pd.Series) -> np.ndarray:
    """True [R] where a value differs from the one before it, and at the first."""
    codes: np.ndarray = pd.factorize(values)[0]
    return np.asarray(np.diff(codes, prepend=-1) != 0)


def split_users(
    starts: np.ndarray, ends: np.ndarray, split: Split, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Starts and ends of each part's sequences; in a held-out part the last item is the target."""
    if split == "leave_one_out":
        return {"train": (starts, ends - 2), "valid": (starts, ends - 1), "test": (starts, ends)}
    users = np.random.default_rng(seed).permutation(len(starts))
    held_out = len(users) // 10
    if held_out == 0:
        raise ValueError(
            f"{len(users)} users are too few to split by user, which needs at least 10; use "
            "split='leave_one_out'"
        )
    parts = np.split(users, [len(users) - 2 * held_out, len(users) - held_out])
    names = ("train", "valid", "test")
    return {
        name: (starts[np.sort(part)], ends[np.sort(part)])
        for name, part in zip(names, parts, strict=True)
    }


def only_numbered(times: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> bool:
    """Whether the times of each user count 0, 1, 2 and so on from the first: `NO_TIMES`."""
    places = np.arange(len(times)) - starts.repeat(ends - starts)
    return np.array_equal(times - times[starts].repeat(ends - starts), places)


def moments(in_order: np.ndarray) -> list[Any]:
    """The first moments of the validation and of the test period, from the sorted times."""
    return [in_order[len(in_order) * percent // 100] for percent in PERIODS]


def reach(times: np.ndarray, starts: np.ndarray, ends: np.ndarray, moment: Any) -> np.ndarray:
    """For each user, whose times rise, the end [U] of the rows before the moment."""
    counted = np.append(0, (times < moment).cumsum())
    reached: np.ndarray = starts + counted[ends] - counted[starts]
    return reached


def split_by_time(
    starts: np.ndarray, ends: np.ndarray, reached: Sequence[np.ndarray], split: Split, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Like `split_users`, by the rows that `reach` finds for two moments.

    Gusak et al. (RecSys 2025) compare the choices of a target.
    """
    first, second = reached
    early, draw = starts < first, np.random.default_rng(seed)
    bounds = {"train": (starts[early], first[early])}
    for name, low, high in (("valid", first, second), ("test", second, ends)):
        low = np.maximum(low, starts + 1)  # the context needs an item
        users = np.flatnonzero(low < high)
        if not len(users):
            raise ValueError(
                f"no user has an item in the {name} period and an earlier one: the log is small, "
                "or its times are equal; use split='leave_one_out'"
            )
        fixed = {"by_time_first": 0.0, "by_time_last": 1.0}.get(split)
        share = draw.random(len(users)) if fixed is None else np.full(len(users), fixed)
        number = (high - low)[users]
        chosen = low[users] + np.minimum((share * number).astype(np.int64), number - 1)
        bounds[name] = starts[users], chosen + 1
    return bounds


def count(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray, n_items: int) -> np.ndarray:
    """Occurrences [N] of each item code in the sequences starts[i] .. ends[i] - 1."""
    steps = np.zeros(len(codes) + 1, dtype=np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    inside = steps.cumsum()[:-1] > 0
    return np.bincount(codes[inside], minlength=n_items)


def windows(ids: np.ndarray, starts: np.ndarray, ends: np.ndarray, max_len: int) -> Tensor:
    """Left-padded windows [W, max_len + 1], cut from each sequence's end, overlapping by 1."""
    n_windows = -(-(ends - starts - 1) // max_len)
    user = np.repeat(np.arange(len(starts)), n_windows)
    number = np.arange(len(user)) - np.repeat(n_windows.cumsum() - n_windows, n_windows)
    return _left_padded(ids, starts[user], ends[user] - number * max_len, max_len + 1)


def held_out(ids: np.ndarray, starts: np.ndarray, ends: np.ndarray, max_len: int) -> HeldOut:
    contexts = _left_padded(ids, starts, ends - 1, max_len)
    return HeldOut(contexts, torch.from_numpy(ids[ends - 1]))


def _left_padded(ids: np.ndarray, starts: np.ndarray, ends: np.ndarray, length: int) -> Tensor:
    """Rows [R, length]: the last `length` of ids[start:end], padded on the left with zeros."""
    positions = ends[:, None] - np.arange(length, 0, -1)
    inside = positions >= starts[:, None]
    positions *= inside  # in place: allocating another such matrix costs more than the product
    rows = ids[positions]
    rows *= inside
    return torch.from_numpy(rows)
