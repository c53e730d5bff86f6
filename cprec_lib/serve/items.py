"""Names of items: original ids and titles, packed so that a million take tens of megabytes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import overload

import numpy as np

from cprec_lib.serve.tables import Ints, Tensors

NEIGHBOURS = 300
"""Names on each side in alphabetical order that may be the nearest to one that is unknown."""


def pack(names: Sequence[str], part: str) -> dict[str, np.ndarray]:
    """The tensors of `Names`: the text in UTF-8, where each name ends, alphabetical order."""
    encoded = [name.encode("utf-8", "replace") for name in names]
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    order = sorted(range(len(encoded)), key=lambda position: encoded[position].lower())
    return {
        f"{part}.text": np.frombuffer(b"".join(encoded), np.uint8),
        f"{part}.ends": ends,
        f"{part}.order": np.array(order, np.int32),
    }


class Names(Sequence[str]):
    """The names of the items 1..N, at the positions 0..N-1. ASCII letters match in either case."""

    def __init__(self, tensors: Tensors, part: str) -> None:
        self._text = tensors[f"{part}.text"].tobytes()
        lower = self._text.lower()  # of ASCII letters only, so every name keeps its place
        self._lower = self._text if lower == self._text else lower
        self._ends_array: Ints = tensors[f"{part}.ends"]
        # A memoryview gives a number in a fifth of the time that an array takes.
        self._ends = self._ends_array.data
        self._order = tensors[f"{part}.order"].data

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        if not -len(self) <= position < len(self):
            raise IndexError(f"no name {position} among {len(self)}")
        return self._of(self._text, position % len(self)).decode()

    def find(self, name: str) -> int:
        """The item 1..N of that name, the most popular if several have it.

        An exact match is preferred to one in another case. Raises ValueError for an unknown name,
        with the nearest.
        """
        wanted = name.encode("utf-8", "replace")
        alike = list(self._equal(wanted.lower()))
        if not alike:
            near = self._nearest(name)
            raise ValueError(
                f"no item is called {name[:100]!r}; the nearest are: {'; '.join(near)}"
            )
        exact = [each for each in alike if self._of(self._text, each) == wanted]
        return min(exact or alike) + 1

    def containing(self, part: str, limit: int) -> list[int]:
        """Up to `limit` items 1..N whose names contain the text, the most popular first."""
        wanted, found, place = part.encode("utf-8", "replace").lower(), list[int](), 0
        while len(found) < limit and (place := self._lower.find(wanted, place)) >= 0:
            position = int(np.searchsorted(self._ends_array, place, side="right"))
            if position == len(self):  # an empty text is found at the end, too
                break
            if place + len(wanted) <= self._ends[position]:
                found.append(position + 1)
                place = self._ends[position]
            else:  # it starts in one name and ends in the next
                place += 1
        return found

    def _of(self, text: bytes, position: int) -> bytes:
        start = self._ends[position - 1] if position else 0
        return text[start : self._ends[position]]

    def _place(self, wanted: bytes) -> int:
        """Where a name in lower case stands, or would stand, in alphabetical order."""
        places = range(len(self))
        return bisect_left(places, wanted, key=lambda p: self._of(self._lower, self._order[p]))

    def _equal(self, wanted: bytes) -> Iterator[int]:
        for place in range(self._place(wanted), len(self)):
            position = self._order[place]
            if self._of(self._lower, position) != wanted:
                return
            yield position

    def _nearest(self, name: str) -> list[str]:
        place = self._place(name.encode("utf-8", "replace").lower())
        around = self._order[max(0, place - NEIGHBOURS) : place + NEIGHBOURS]
        names = list(dict.fromkeys(self[position] for position in around))
        return get_close_matches(name[:100], names, n=3, cutoff=0)
