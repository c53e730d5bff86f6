"""Names of items: original ids and titles, as bytes in a file that is mapped into memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import overload

import numpy as np

from cprec_lib.serve.tables import Ints, Tensors

AT_ONCE = 2**12
"""Names that a search reads at once."""
NEIGHBOURS = 300
"""Names on each side in alphabetical order that may be the nearest to one that is unknown."""


def pack(names: Sequence[str], part: str) -> dict[str, np.ndarray]:
    """The tensors of `Names`: text in UTF-8, its lower case, ends of names, alphabetical order."""
    encoded = [name.encode("utf-8", "replace") for name in names]
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    order = sorted(range(len(encoded)), key=lambda position: encoded[position].lower())
    text = b"".join(encoded)
    lower = text.lower()  # of ASCII letters only, so every name keeps its place
    tensors: dict[str, np.ndarray] = {
        f"{part}.text": np.frombuffer(text, np.uint8),
        f"{part}.ends": ends,
        f"{part}.order": np.array(order, np.int32),
    }
    if lower != text:
        tensors[f"{part}.lower"] = np.frombuffer(lower, np.uint8)
    return tensors


class Names(Sequence[str]):
    """The names of the items 1..N, at the positions 0..N-1. ASCII letters match in either case."""

    def __init__(self, tensors: Tensors, part: str) -> None:
        # A memoryview gives a number in a fifth of the time that an array takes.
        self._text = tensors[f"{part}.text"].data
        self._lower = tensors[f"{part}.lower"].data if f"{part}.lower" in tensors else self._text
        self._ends_array: Ints = tensors[f"{part}.ends"]
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

    def containing(self, part: str, limit: int) -> Iterator[list[int]]:
        """Up to `limit` items 1..N whose names contain the text, the most popular first.

        A list for each `AT_ONCE` names, so that the caller can do something else in between: a
        million names take a tenth of a second.
        """
        wanted, first = part.encode("utf-8", "replace").lower(), 0
        while limit > 0 and first < len(self):
            last = min(first + AT_ONCE, len(self))
            found = [*islice(self._containing(wanted, first, last), limit)]
            yield found
            limit, first = limit - len(found), last

    def _containing(self, wanted: bytes, first: int, last: int) -> Iterator[int]:
        start, end, place = self._start(first), self._ends[last - 1], 0
        text = bytes(self._lower[start:end])
        while 0 <= (place := text.find(wanted, place)) < len(text):
            position = int(np.searchsorted(self._ends_array, start + place, side="right"))
            if start + place + len(wanted) <= self._ends[position]:
                yield position + 1
                place = self._ends[position] - start
            else:  # it starts in one name and ends in the next
                place += 1

    def _start(self, position: int) -> int:
        return self._ends[position - 1] if position else 0

    def _of(self, text: memoryview, position: int) -> bytes:
        return bytes(text[self._start(position) : self._ends[position]])

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
