"""Go on from what was computed for a user's earlier items, instead of running them all again."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from cprec_lib.checks import whole_number
from cprec_lib.serve.events import Event, EventFile
from cprec_lib.serve.manifest import STEP
from cprec_lib.serve.model import Model, fitting, session
from cprec_lib.serve.tables import Floats, Ints


class Rings:
    """The ring buffers of the layers of `step.onnx`, one above the other in an array [rows, d].

    Layer i needs its rows of `lags[i]` positions ago, so its buffer keeps the last max(lags[i]).
    The row of position t is at t modulo that number, and takes the place of the oldest when it is
    written. Rows before the first position are zero, as the padding of a convolution.
    """

    def __init__(self, lags: Sequence[Sequence[int]]) -> None:
        sizes = np.array([max(layer) for layer in lags])
        starts = np.cumsum(sizes) - sizes
        self.rows = int(sizes.sum())
        self._sizes, self._starts = sizes, starts
        self._lags = np.array([lag for layer in lags for lag in layer])
        counts = [len(layer) for layer in lags]
        self._lag_sizes, self._lag_starts = np.repeat(sizes, counts), np.repeat(starts, counts)

    def past(self, time: int) -> Ints:
        """Where the rows lie that position `time` needs, layer by layer."""
        places: Ints = self._lag_starts + (time - self._lags) % self._lag_sizes
        return places

    def current(self, time: int) -> Ints:
        """Where the row of each layer goes at position `time`."""
        places: Ints = self._starts + time % self._sizes
        return places


@dataclass
class _State:
    """What was computed for a user: ring buffers [rows, d], positions, the last hidden [1, d]."""

    rings: Floats
    time: int
    hidden: Floats


class Stream:
    """A model that follows users event by event: an item costs one position, not the history.

    A state takes 4 bytes times the width times the sum of the largest lags: 15 kB for four blocks
    of width 64 with the dilations 1, 4, 1, 4. At most `max_users` states stay in memory. Beyond
    that, the state that was used least recently is dropped, and computed again when it is needed
    from the user's items. These stay in memory, at 4 bytes each. With `events`, each event is
    written there before it counts, and those in the file are read back first; items that the model
    does not know are left out.

    Raises ValueError for middle layers that cannot go on from what they computed, such as
    attention, for `max_users` below 1, and as `EventFile.read` does.
    """

    def __init__(
        self, model: Model, max_users: int = 10_000, events: EventFile | None = None
    ) -> None:
        lags = model.manifest.lags
        if lags is None:
            raise ValueError(
                f"the middle layers of {model.folder} cannot go on from what they computed; send "
                "whole histories to `recommend`, or export a model with a CNN or a GRU"
            )
        self.model, self.max_users = model, whole_number("max_users", max_users, least=1)
        with fitting(model.folder):
            self._step, self._rings = session(model.folder / STEP), Rings(lags)
            self._advance(self._new_state(), 1)
        self._events, self._read_up_to = events, 0
        self._items: dict[str, array[int]] = {}
        self._states: OrderedDict[str, _State] = OrderedDict()
        self.catch_up()

    def catch_up(self) -> None:
        """Read events that were added to the file since it was last read."""
        if self._events is None:
            return
        number = cache(self._number)
        for event, end in self._events.read(self._read_up_to):
            self._read_up_to = end
            if item := number(event.item):
                self._keep(event.user, item)
                self._states.pop(event.user, None)

    def observe(self, user: str, item: int) -> None:
        """A user has chosen an item, 1..N.

        Raises ValueError for an item outside 1..N, and OSError if the event cannot be written; then
        it does not count.
        """
        if not 1 <= whole_number("item", item) <= self.model.n_items:
            raise ValueError(f"item {item} is outside 1..{self.model.n_items}")
        if self._events is not None:
            self._read_up_to = self._events.append(Event(user, self.model.originals[item - 1]))
        state = self._state(user)
        self._advance(state, item)
        self._keep(user, item)
        self._remember(user, state)

    def recommend(self, user: str, k: int, exclude_seen: bool = False) -> tuple[Floats, Ints]:
        """The k most probable next items of a user: (log-probabilities [k], items [k]).

        Raises ValueError for a user without events, and as `Softmax.top_k` does.
        """
        if user not in self._items:
            raise ValueError(f"user {user[:100]!r} has no events yet; send one first")
        state = self._state(user)
        self._remember(user, state)
        seen = [self.items(user)] if exclude_seen else None
        values, items = self.model.softmax.top_k(state.hidden, k, seen)
        return values[0], items[0]

    def items(self, user: str) -> Ints:
        """The items 1..N that a user has chosen, oldest first; none for an unknown user."""
        return np.array(self._items.get(user, ()), np.int64)

    def __len__(self) -> int:
        """Number of states in memory."""
        return len(self._states)

    def _number(self, original: str) -> int | None:
        """The item of an original id; None if it was in an earlier catalogue only."""
        try:
            return self.model.originals.find(original)
        except ValueError:
            return None

    def _keep(self, user: str, item: int) -> None:
        self._items.setdefault(user, array("i")).append(item)

    def _remember(self, user: str, state: _State) -> None:
        self._states[user] = state
        self._states.move_to_end(user)
        if len(self._states) > self.max_users:
            self._states.popitem(last=False)

    def _state(self, user: str) -> _State:
        """The state of a user, from the items if it is not in memory."""
        if user in self._states:
            return self._states[user]
        state, window = self._new_state(), self.model.manifest.window
        for item in self._items.get(user, array("i"))[-window if window else 0 :]:
            self._advance(state, item)
        return state

    def _new_state(self) -> _State:
        width = self.model.manifest.width
        rings = np.zeros((self._rings.rows, width), np.float32)
        return _State(rings, 0, np.empty((1, width), np.float32))

    def _advance(self, state: _State, item: int) -> None:
        vector = self.model.embedding.one(item)
        past = state.rings[self._rings.past(state.time)]
        state.hidden, rows = self._step.run(None, {"vector": vector, "past": past[None]})
        state.rings[self._rings.current(state.time)] = rows[0]
        state.time += 1
