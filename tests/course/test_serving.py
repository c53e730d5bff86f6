"""What notebook 10 measures, by records and models made by hand."""

import time
from pathlib import Path

import numpy as np
import pytest

from cprec_lib import serve
from cprec_lib.course.serving import (
    Server,
    cost_of_parts,
    kept,
    load_table,
    milliseconds,
    search_times,
)
from tests.serve.exported import N_ITEMS, ORIGINALS, WIDTH, export


def test_a_time_is_in_milliseconds_and_without_the_first_call():
    naps = iter([0.2, 0.01, 0.01, 0.01])
    assert 10 <= milliseconds(lambda: time.sleep(next(naps)), calls=3) < 150


def test_a_searches_time_is_the_median_of_one_search():
    sides = {"ours": {"seconds": [0.4, 0.1, 0.2]}, "floor: bytes": {"seconds": [0.1]}}
    cases = [
        {"case": f"9 items, {n} at once", "searches_per_call": 20 // n, "sides": sides}
        for n in (1, 10)
    ]
    assert search_times({"cases": cases}, 1).to_dict() == {"9 items": {"ours": pytest.approx(10)}}
    assert search_times({"cases": cases}, 10).to_dict() == {"9 items": {"ours": pytest.approx(100)}}


def test_kept_items_may_have_moved():
    whole, other = np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 5]])
    assert kept({"a": whole, "b": other}).to_numpy().tolist() == [[1, 1], [0.75, 0.5]]


def test_a_load_is_that_of_the_highest_rate_and_the_largest_that_is_carried():
    slow = {"asked": 500, "reached": 90, "p50": 60.0, "p90": 70.0, "p99": 80.0, "errors": 0}
    fine = {"asked": 20, "reached": 20, "p50": 6.0, "p90": 7.0, "p99": 8.0, "errors": 0}
    table = load_table([{"name": "one", "loads": [slow], "tried": [fine]}])
    assert table.to_dict("index") == {
        "one": {
            "answers a second at 500 requests a second": 90,
            "p50, ms": 60,
            "p90, ms": 70,
            "p99, ms": 80,
            "largest rate with p90 within 50 ms": 20,
        }
    }


def test_the_parts_read_their_rows(tmp_path: Path):
    export("nextitnet", tmp_path)
    found = cost_of_parts(serve.load(tmp_path), 4 * WIDTH, length=3)
    graph = (tmp_path / "model.onnx").stat().st_size
    assert found["bytes"].tolist() == [12 * WIDTH, graph, N_ITEMS * (4 * WIDTH + 4)]
    assert (found["reading them, ms"] > 0).all()


def test_a_server_answers_until_it_is_stopped(tmp_path: Path):
    model = export("nextitnet", tmp_path)
    server = Server(tmp_path)
    try:
        body = {"history": ORIGINALS[:3], "k": 4, "exclude_seen": False}
        answer = server.ask("/recommend", body)
        _, [items] = model.recommend([[1, 2, 3]], 4)
        assert [item["item"] for item in answer["items"]] == [
            ORIGINALS[item - 1] for item in items.tolist()
        ]
        whole, inside = server.time([ORIGINALS[:1]] * 3)
        assert len(whole) == 3
        assert all(0 < a < b for a, b in zip(inside, whole, strict=True))
    finally:
        server.stop()
    server.stop()
    with pytest.raises(OSError):
        server.ask("/health")


def test_a_server_that_cannot_start_says_so(tmp_path: Path):
    with pytest.raises(RuntimeError, match="cprec serve"):
        Server(tmp_path)
