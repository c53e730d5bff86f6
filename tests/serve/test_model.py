"""The runtime against the torch model, for every kind; what it loads and what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cprec_lib import serve
from tests.serve.conftest import Exported
from tests.serve.exported import CONFIGS, N_ITEMS, ORIGINALS, TITLES

ROOT = Path(__file__).resolve().parents[2]


def histories(count: int, seed: int = 0) -> list[list[int]]:
    """Histories of 1 to 40 items: shorter and longer than any window of `CONFIGS`."""
    draw = np.random.default_rng(seed)
    return [draw.integers(1, N_ITEMS + 1, draw.integers(1, 41)).tolist() for _ in range(count)]


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_runtime_recommends_what_torch_recommends(name, exclude_seen, exported: Exported):
    folder, model = exported(name)
    served = serve.load(folder)
    values, items = model.recommend(histories(30), 10, exclude_seen)
    found, theirs = served.recommend(histories(30), 10, exclude_seen)
    assert theirs.tolist() == items.tolist()
    np.testing.assert_allclose(found, values.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["nextitnet", "cross-block", "gru4rec", "sasrec"])
def test_a_history_alone_gives_what_it_gives_among_others(name, exported: Exported):
    served = serve.load(exported(name)[0])
    together = served.recommend(histories(5), 4)
    for row, history in enumerate(histories(5)):
        values, items = served.recommend([history], 4)
        assert items[0].tolist() == together[1][row].tolist()
        np.testing.assert_allclose(values[0], together[0][row], atol=1e-5)


def test_a_model_knows_its_items_and_its_size(exported: Exported):
    folder, model = exported("cross-block")
    served = serve.load(folder)
    assert served.n_items == N_ITEMS
    assert [*served.originals] == ORIGINALS
    assert [*served.titles] == TITLES
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert weights < served.bytes < weights + 30_000  # the graph's nodes and the bounds


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "no histories"),
        ([[1], []], "history 1 is empty"),
        ([[0]], "history 0: item id 0 is outside 1..60"),
        ([[1, 61]], "item id 61 is outside 1..60"),
        ([["1"]], "each history is a list of item ids"),
        ([[1.5]], "each history is a list of item ids"),
    ],
)
def test_histories_that_cannot_be_used_are_refused(asked, message, exported: Exported):
    with pytest.raises(ValueError, match=message):
        serve.load(exported("nextitnet")[0]).recommend(asked, 3)


@pytest.mark.parametrize("name", ["nextitnet", "cross-block"])
def test_a_k_that_leaves_no_choice_is_refused(name, exported: Exported):
    served = serve.load(exported(name)[0])
    with pytest.raises(ValueError, match="k 0 is below 1"):
        served.recommend([[1]], 0)
    with pytest.raises(ValueError, match="k 60 is more than the 59 items left"):
        served.recommend([[1, 1]], 60, exclude_seen=True)
    values, items = served.recommend([[1, 1]], 59, exclude_seen=True)
    assert sorted(items[0].tolist()) == [*range(2, 61)]
    assert np.isfinite(values).all()


def test_serving_never_imports_torch_or_pandas(exported: Exported):
    code = """
import sys
sys.modules["torch"] = sys.modules["pandas"] = sys.modules["accelerate"] = None
import cprec_lib
from cprec_lib import serve
model = serve.load(sys.argv[1])
stream = serve.Stream(model)
stream.observe("a user", 3)
print(model.recommend([[3]], 2)[1].tolist() == [stream.recommend("a user", 2)[1].tolist()])
"""
    command = [sys.executable, "-c", code, str(exported("cross-block")[0])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_request_imports_nothing_that_loading_has_not(exported: Exported):
    code = """
import sys
from cprec_lib import serve
model = serve.load(sys.argv[1])
loaded = {*sys.modules}
model.recommend([[3, 5]], 2, exclude_seen=True)
print({*sys.modules} - loaded)
"""
    command = [sys.executable, "-c", code, str(exported("cross-block")[0])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
