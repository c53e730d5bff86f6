"""What the server answers, without HTTP: histories by id or title, users, items, new models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from cprec_lib.serve.events import EventFile
from cprec_lib.serve.model import Model, load
from cprec_lib.serve.stream import Stream
from cprec_lib.serve.tables import Floats, Ints

By = Literal["id", "title"]
Answer = dict[str, Any]


class Refusal(Exception):
    """A request that cannot be met: the status of HTTP, the field at fault, and the way out."""

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(message)
        self.status, self.field, self.message = status, field, message


class Service:
    """A model, its users, and perhaps a second model to compare it with.

    Raises ValueError, FileNotFoundError and OSError as `load`, `Stream` and `EventFile` do.
    """

    def __init__(
        self,
        folder: Path,
        compare: Path | None = None,
        events: Path | None = None,
        max_users: int = 10_000,
    ) -> None:
        self.max_users = max_users
        self.models = {"first": load(folder)} | (
            {} if compare is None else {"second": load(compare)}
        )
        if events is not None:
            _check_follows(self.model)
        self._events = None if events is None else EventFile(events)
        self.stream = self._follow(self.model)

    @property
    def model(self) -> Model:
        """The model that follows the users."""
        return self.models["first"]

    def recommend(
        self, history: Sequence[str], by: By, k: int, exclude_seen: bool, model: str
    ) -> Answer:
        """The best items after a history of original ids or titles, from the model of that key."""
        started = time.perf_counter()
        chosen = self._model(model)
        items = [find(chosen, item, by, f"history[{i}]") for i, item in enumerate(history)]
        values, found = _ranked(lambda: chosen.recommend([items], k, exclude_seen))
        return _answer(chosen, values[0], found[0], started)

    def observe(self, user: str, item: str, by: By) -> Answer:
        """A user has chosen an item."""
        stream = self._streaming()
        number = find(self.model, item, by, "item")
        try:
            stream.observe(user, number)
        except OSError as error:
            raise Refusal(507, "item", str(error.strerror)) from error
        return {"user": user, "events": len(stream.items(user))}

    def recommend_to(self, user: str, k: int, exclude_seen: bool) -> Answer:
        """The best items for a user whose events are known."""
        started, stream = time.perf_counter(), self._streaming()
        if not len(stream.items(user)):
            raise Refusal(404, "user", f"user {user!r} has no events yet; POST /events sends one")
        values, found = _ranked(lambda: stream.recommend(user, k, exclude_seen))
        return _answer(self.model, values, found, started)

    async def items(self, query: str, limit: int, model: str) -> Answer:
        """Items whose titles contain a text, the most popular first.

        A catalogue without a hit is read to its end, so other requests are answered in between.
        """
        chosen, found = self._model(model), list[int]()
        for some in chosen.titles.containing(query, limit):
            found += some
            await asyncio.sleep(0)
        return {"items": [_named(chosen, item) for item in found]}

    def prepare(self, folder: Path) -> tuple[Model, Stream | None]:
        """Load a new model beside the present one; another thread may meanwhile use this service.

        Raises OSError and ValueError as `load` does, and ValueError for a model that cannot follow
        users if there is a file of events.
        """
        model = load(folder)
        return model, self._follow(model)

    def swap(self, model: Model, stream: Stream | None) -> None:
        """Put what `prepare` returned in the place of the present model."""
        if stream is not None:
            stream.catch_up()
        self.models["first"], self.stream = model, stream

    def close(self) -> None:
        """Let other processes have the file of events."""
        if self._events is not None:
            self._events.close()

    def _follow(self, model: Model) -> Stream | None:
        if self._events is not None:
            _check_follows(model)
        if model.manifest.lags is None:
            return None
        return Stream(model, self.max_users, self._events)

    def _streaming(self) -> Stream:
        if self.stream is None:
            raise Refusal(
                409,
                "user",
                f"the middle layers of {self.model.manifest.name} cannot follow users; POST "
                "/recommend takes whole histories",
            )
        return self.stream

    def _model(self, key: str) -> Model:
        if key not in self.models:
            raise Refusal(422, "model", "there is no second model; start the server with --compare")
        return self.models[key]


def _check_follows(model: Model) -> None:
    if model.manifest.lags is None:
        raise ValueError(
            f"{model.folder} cannot follow users, so it cannot serve a file of events; name a "
            "model with a CNN or a GRU, or start the server without --events"
        )


def find(model: Model, name: str, by: By, field: str) -> int:
    """The item 1..N of an original id or a title. Raises Refusal for an unknown one."""
    names = model.titles if by == "title" else model.originals
    try:
        return names.find(name)
    except ValueError as error:
        known = f"looked up by {by}" if model.has_titles else "the model has no titles: give ids"
        raise Refusal(422, field, f"{error} ({known})") from error


def _ranked(search: Callable[[], tuple[Floats, Ints]]) -> tuple[Floats, Ints]:
    try:
        return search()
    except ValueError as error:  # all but k was checked before
        raise Refusal(422, "k", str(error)) from error


def _named(model: Model, item: int) -> dict[str, Any]:
    return {"item": model.originals[item - 1], "title": model.titles[item - 1]}


def _answer(model: Model, values: Floats, items: Ints, started: float) -> Answer:
    ranked = [
        {**_named(model, item), "log_probability": value}
        for item, value in zip(items.tolist(), values.tolist(), strict=True)
    ]
    return {
        "items": ranked,
        "model": model.manifest.name,
        "bytes": model.bytes,
        "milliseconds": round(1e3 * (time.perf_counter() - started), 3),
    }
