"""Event by event is the same as the whole history, for every kind that can go on."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cprec_lib import cprec, serve
from cprec_lib.export.folder import export_model
from cprec_lib.serve.events import Event, EventFile
from cprec_lib.serve.stream import Rings
from tests.serve.conftest import Exported
from tests.serve.exported import N_ITEMS, ORIGINALS, STREAMING, build


def items_of(user: str, count: int) -> list[int]:
    draw = np.random.default_rng(ord(user[0]))
    return draw.integers(1, N_ITEMS + 1, count).tolist()


@pytest.mark.parametrize("name", STREAMING)
def test_event_by_event_equals_the_whole_history(name, exported: Exported):
    folder, model = exported(name)
    stream = serve.Stream(serve.load(folder))
    history = items_of("a", 45)
    for count, item in enumerate(history, 1):
        stream.observe("ann", item)
        stream.observe("bob", history[-count])
        values, items = stream.recommend("ann", 8)
        expected, theirs = model.recommend([history[:count]], 8)
        assert items.tolist() == theirs[0].tolist()
        np.testing.assert_allclose(values, expected[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("name", STREAMING)
def test_a_state_that_was_evicted_is_computed_again(name, exported: Exported):
    folder, model = exported(name)
    stream = serve.Stream(serve.load(folder), max_users=2)
    histories = {user: items_of(user, 30) for user in "abc"}
    for number in range(30):
        for user, history in histories.items():
            stream.observe(user, history[number])
            assert len(stream) <= 2
    values, items = model.recommend(list(histories.values()), 5, exclude_seen=True)
    for row, user in enumerate(histories):
        found, theirs = stream.recommend(user, 5, exclude_seen=True)
        assert theirs.tolist() == items[row].tolist()
        np.testing.assert_allclose(found, values[row].numpy(), atol=1e-5)


def test_the_least_recent_user_is_evicted(exported: Exported):
    stream = serve.Stream(serve.load(exported("cross-block")[0]), max_users=2)
    stream.observe("ann", 1)
    stream.observe("bob", 2)
    stream.recommend("ann", 1)
    stream.observe("cem", 3)
    assert [*stream._states] == ["ann", "cem"]


def test_events_are_read_back_after_a_restart(exported: Exported, tmp_path: Path):
    model = serve.load(exported("gru4rec")[0])
    events = EventFile(tmp_path / "events.jsonl")
    before = serve.Stream(model, events=events)
    for item in items_of("a", 20):
        before.observe("ann", item)
    beside = serve.Stream(model, events=events)  # as a new model beside the old one
    before.observe("ann", 7)
    assert beside.items("ann").tolist() == items_of("a", 20)
    beside.catch_up()
    events.append(Event("ann", "of an earlier catalogue"))
    events.close()
    after = serve.Stream(model, events=EventFile(tmp_path / "events.jsonl"))
    for stream in (beside, after):
        assert stream.items("ann").tolist() == [*items_of("a", 20), 7]
        np.testing.assert_allclose(stream.recommend("ann", 5)[0], before.recommend("ann", 5)[0])
    assert after._events is not None
    after._events.close()


def test_what_cannot_be_streamed_is_refused(exported: Exported):
    with pytest.raises(ValueError, match="cannot go on from what they computed; send whole"):
        serve.Stream(serve.load(exported("sasrec")[0]))
    model = serve.load(exported("cross-block")[0])
    with pytest.raises(ValueError, match="max_users 0 is below 1"):
        serve.Stream(model, max_users=0)
    stream = serve.Stream(model)
    with pytest.raises(ValueError, match=r"item 61 is outside 1\.\.60"):
        stream.observe("ann", 61)
    with pytest.raises(ValueError, match="user 'ann' has no events yet; send one first"):
        stream.recommend("ann", 3)


def test_a_ring_gives_the_rows_of_its_lags():
    rings = Rings([[2, 1], [4, 2], [1]])
    written = np.full((rings.rows, 1), -1)
    for time_ in range(20):
        past = written[rings.past(time_), 0]
        expected = [time_ - lag for lag in (2, 1, 4, 2, 1)]
        assert past.tolist() == [max(-1, position) for position in expected]
        written[rings.current(time_)] = time_
    assert rings.rows == 2 + 4 + 1


def test_an_event_does_not_run_the_window_again(tmp_path: Path):
    """Alone, an event is five to six times as fast; a busy machine blurs that, but not this."""
    model = build(cprec(200, 64, (20, 60)))
    export_model(model, tmp_path, ORIGINALS[:1] * 200)
    served = serve.load(tmp_path)
    stream, history = serve.Stream(served), np.random.default_rng(0).integers(1, 201, 61)

    def seconds(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    # Both in each round, so that a neighbour slows both.
    rounds = [
        (seconds(lambda: served.hidden([history])), seconds(lambda: stream.observe("ann", 5)))
        for _ in range(300)
    ]
    again, event = np.min(rounds, axis=0)
    assert 2 * event < again
