"""Made-up logs: their distribution is the one that is promised, and the best score is known."""

import numpy as np
import pytest
import torch

from cprec_lib import Bigram, SequenceData, evaluate, load_interactions
from cprec_lib.course.exercises.honest_evaluation import best_ndcg
from cprec_lib.logs.synthetic import Synthetic

NAME = "synthetic:items=50,users=4000,zipf=0.9,groups=5,follow=0.6,length=10,seed=3"


def test_a_name_gives_a_log_sorted_by_user_and_time():
    table = load_interactions(NAME)
    assert [*table.columns] == ["user", "item", "timestamp"]
    assert len(table) == 4000 * 10
    assert table.equals(table.sort_values(["user", "timestamp"], ignore_index=True))
    assert table.equals(load_interactions(NAME))
    assert not table.equals(load_interactions(NAME.replace("seed=3", "seed=4")))
    assert str(Synthetic.parse(NAME)) == NAME
    assert Synthetic.parse("synthetic:") == Synthetic()
    large = Synthetic(items=1_000_000, zipf=1.23456789)
    assert Synthetic.parse(str(large)) == large


def test_items_follow_the_law_at_every_step():
    made = Synthetic.parse(NAME)
    table = made.interactions()
    for step in (0, 9):
        items = table.item[table.timestamp == step]
        share = np.bincount(items, minlength=51)[1:] / len(items)
        assert np.abs(share - made.popularity).max() < 4 * np.sqrt(0.25 / len(items))
    ratio = made.popularity[0] / made.popularity[9]
    assert ratio == pytest.approx(10**0.9)


def test_the_next_item_follows_its_distribution():
    made = Synthetic.parse(NAME)
    log = made.interactions().item.to_numpy().reshape(4000, 10)
    after_first = log[:, 1:][log[:, :-1] == 1]
    share = np.bincount(after_first, minlength=51)[1:] / len(after_first)
    assert made.next_item(1).sum() == pytest.approx(1)
    assert np.abs(share - made.next_item(1)).max() < 4 * np.sqrt(0.25 / len(after_first))


class Oracle:
    """Scores by the true distribution."""

    def __init__(self, made: Synthetic, items: np.ndarray):
        self.table = np.stack([made.next_item(item)[items - 1] for item in range(1, 51)])
        self.items = items

    def __call__(self, contexts: np.ndarray) -> np.ndarray:
        return self.table[self.items[contexts[:, -1] - 1] - 1]


def test_who_knows_the_distribution_reaches_the_best_score():
    made = Synthetic.parse(NAME)
    data = SequenceData.from_interactions(made.interactions(), max_len=10)
    oracle = Oracle(made, np.asarray(data.catalogue.items))
    scores = oracle(data.test.contexts.numpy())
    targets = data.test.targets.numpy()
    own = scores[np.arange(len(targets)), targets - 1]
    rank = 1 + (scores > own[:, None]).sum(1)
    best = made.best(10)
    assert (rank <= 10).mean() == pytest.approx(best["hr@10"], abs=0.03)
    assert np.where(rank <= 10, 1 / rank, 0).mean() == pytest.approx(best["mrr@10"], abs=0.03)
    ndcg = np.where(rank <= 10, 1 / np.log2(rank + 1), 0).mean()
    assert ndcg == pytest.approx(best["ndcg@10"], abs=0.03)


def test_a_model_cannot_beat_it_and_the_bigram_comes_close():
    made = Synthetic.parse(NAME)
    data = SequenceData.from_interactions(made.interactions(), max_len=10)
    reached = evaluate(Bigram(data), data).metrics()["ndcg@10"]
    assert 0.7 * made.best()["ndcg@10"] < reached < made.best()["ndcg@10"] + 0.03


@pytest.mark.parametrize("k", [1, 10, 60])
def test_the_exercise_of_notebook_04_agrees(k: int):
    made = Synthetic.parse(NAME)
    rows = torch.from_numpy(np.stack([made.next_item(item) for item in range(1, 51)]))
    by_last_item = [best_ndcg(row[None], k) for row in rows]
    assert made.popularity @ by_last_item == pytest.approx(made.best(k)[f"ndcg@{k}"])


def test_the_extremes():
    assert Synthetic(zipf=0, groups=1).popularity == pytest.approx(np.full(1000, 0.001))
    assert Synthetic(items=1, groups=1).interactions().item.unique().tolist() == [1]
    assert Synthetic(items=3, groups=3, follow=1).best()["ndcg@10"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synthetic:things=3", "unknown field 'things'"),
        ("synthetic:items=many", "'items=many' in .* does not end in a number"),
        ("synthetic:items=1.5", "does not end in a number"),
        ("synthetic:items", "does not end in a number"),
        ("synthetic:items=0", "items 0 is below 1"),
        ("synthetic:items=3,groups=4", "4 groups are more than 3 items"),
        ("synthetic:zipf=-1", "zipf -1.0 is outside"),
        ("synthetic:zipf=nan", "zipf nan is outside"),
        ("synthetic:follow=1.1", "follow 1.1 is not a share"),
        ("synthetic:seed=-1", "seed -1 is below 0"),
    ],
)
def test_bad_names(name: str, message: str):
    with pytest.raises(ValueError, match=message):
        load_interactions(name)


def test_bad_items():
    with pytest.raises(ValueError, match=r"item 51 is outside 1\.\.50"):
        Synthetic.parse(NAME).next_item(51)
