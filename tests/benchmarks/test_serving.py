"""The load on the server: what is counted, when it is carried, and a short one for real."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import report, serving
from benchmarks.serving_child import InTorch, OneGraph
from cprec_lib import SequentialRecommender, nextitnet, serve
from cprec_lib.evidence.statistics import carried
from cprec_lib.export.folder import export_model

ITEMS = 50
HISTORY = [3, 9, 4]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small NextItNet for every way to serve it."""
    model = SequentialRecommender(nextitnet(ITEMS, 8, dilations=(1, 2)))
    export_model(model, tmp_path / "nextitnet", [str(10**7 + item) for item in range(ITEMS)])
    model.save(tmp_path / "nextitnet-torch")
    (tmp_path / "one_graph.onnx").write_bytes(serving.one_graph(model))
    return tmp_path


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("way", [InTorch, OneGraph])
def test_every_way_gives_the_same_list(way, exclude_seen, folder: Path):
    ours = serve.load(folder / "nextitnet")
    values, items = ours.recommend([HISTORY], 10, exclude_seen)
    found, theirs = way(ours).recommend([HISTORY], 10, exclude_seen)
    assert theirs.tolist() == items.tolist()
    np.testing.assert_allclose(found, values, atol=1e-5)


def test_a_summary_leaves_out_the_warm_up():
    sent = np.arange(0, 4, 0.01)
    answers = np.stack([np.where(sent < 1, 900, 5.0), np.full(400, 200), sent], 1)
    answers[-60:-50, 0], answers[-1, 1] = 70, 503
    found = serving.summary(answers, seconds=3)
    assert found["reached"] == pytest.approx(100)
    assert (found["p50"], found["p90"], found["errors"]) == (5, 5, 1)
    assert sum(found["histogram"]) == 300
    assert serving.summary(answers[:0], 3)["p90"] == 10_000


def test_the_largest_rate_is_between_what_is_carried_and_what_is_not():
    def ask(rate: float) -> dict:
        reached = min(rate, 300)
        return {"asked": rate, "reached": reached, "p50": 1.0, "p90": 2.0, "errors": 0}

    tried = serving.search_rate(ask, steps=8)
    assert 290 < carried(tried) < 316  # the rate may be missed by 5 %
    assert len(tried) == 8


@pytest.mark.parametrize("way", ["exported", "in_torch", "one_graph"])
def test_a_real_server_is_asked_at_a_constant_rate(way: str, folder: Path):
    if shutil.which("hey") is None:
        pytest.skip("hey is not installed (Debian package hey)")
    body = folder / "body.json"
    body.write_text('{"history": ["10000003"], "k": 5}')
    served = serving.Served("small", "nextitnet", way)
    with serving.running(served, folder) as (process, port):
        found = serving.load(port, rate=40, seconds=2, bodies=[body, body])
        memory = serving.memory(process.pid, folder)
    assert found["errors"] == 0
    assert 0.7 * 40 < found["reached"] < 1.3 * 40
    assert 0 < found["p50"] <= found["p90"] <= found["p99"]
    assert memory is None or memory["all"] > memory["private"] > memory["mapped_model"] > 0


def test_the_report_has_a_line_for_each_load():
    load = {"asked": 500, "reached": 499.6, "p50": 1.26, "p90": 2.0, "p99": 3.0, "errors": 0}
    memory = {"after": {"all": 9e7, "private": 5e7, "mapped_model": 1e7}}
    ours = {"name": "CpRec", "way": "exported", "loads": [load, load], "tried": [load]}
    ours["memory"] = memory
    result = {"served": [ours, {**ours, "name": "NextItNet", "way": "in_torch"}]}
    assert len(report.serving(result).splitlines()) == 3 + 4
    assert report.serving(result, others=False).splitlines()[3:] == [
        "| CpRec | 500 | 500 | 1.3 ms | 2.0 ms | 3.0 ms | 0 | 500 a second "
        "| 50 MB private, 90 MB with 10 MB of the model's files |"
    ]
