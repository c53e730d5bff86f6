"""From a table to a catalogue, a split and windows, against a slow restatement in plain Python."""

import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cprec_lib import Catalogue, SequenceData, SequentialRecommender, fit, nextitnet
from tests.strategies import tables


def frame(*sequences: list, times: list | None = None) -> pd.DataFrame:
    """A table in which user 0, 1, ... has the items of each sequence in turn."""
    rows = [(user, i) for user, sequence in enumerate(sequences) for i in sequence]
    table = pd.DataFrame(rows, columns=["user", "item"])
    table["timestamp"] = range(len(table)) if times is None else times
    return table


def distinct_items(lengths: list[int]) -> pd.DataFrame:
    """Users of these lengths whose items, 1000 user + position, tell where they come from."""
    return frame(*([1000 * user + i for i in range(n)] for user, n in enumerate(lengths)))


def quietly(table: pd.DataFrame, **options) -> SequenceData:
    """The data without the warning about dropped users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return SequenceData.from_interactions(table, **options)


def originals(data: SequenceData, ids: Tensor) -> list:
    """Original ids of a left-padded row, checking that padding comes first."""
    n_padding = int((ids == 0).sum())
    assert not ids[:n_padding].any() and (ids[n_padding:] > 0).all()
    return [int(i) for i in data.catalogue.originals(ids[n_padding:])]


def sequences_of(table: pd.DataFrame, shortest: int) -> list[list]:
    """Items of each long enough user, users in order, by time and then by place in the table."""
    rows = sorted(
        (user, time, place, item)
        for place, (user, item, time) in enumerate(table.itertuples(index=False))
    )
    users = sorted({user for user, *_ in rows})
    found = [[item for u, *_, item in rows if u == user] for user in users]
    return [sequence for sequence in found if len(sequence) >= shortest]


# --- leave one out -------------------------------------------------------------------------------


@given(tables(min_length=1), st.integers(1, 6))
def test_leave_one_out_is_its_restatement(table, max_len):
    sequences = sequences_of(table, shortest=3)
    if not sequences:
        with pytest.raises(ValueError, match="no user has the 3 interactions"):
            quietly(table, max_len=max_len)
        return
    data = quietly(table, max_len=max_len)
    counts = Counter(item for sequence in sequences for item in sequence[:-2])
    every = {item for sequence in sequences for item in sequence}
    order = sorted(every, key=lambda item: (-counts[item], item))
    assert data.catalogue.items.tolist() == order
    assert data.catalogue.counts.tolist() == [counts[item] for item in order]
    assert data.n_items == len(order)
    for part, cut in ((data.valid, 2), (data.test, 1)):
        contexts = [originals(data, row) for row in part.contexts]
        assert contexts == [sequence[:-cut][-max_len:] for sequence in sequences]
        assert originals(data, part.targets) == [sequence[-cut] for sequence in sequences]
    found = Counter(pair for row in data.train for pair in pairwise(originals(data, row)))
    assert found == Counter(pair for sequence in sequences for pair in pairwise(sequence[:-2]))


@given(st.lists(st.integers(3, 20), min_size=1, max_size=6), st.integers(1, 7))
def test_each_training_transition_is_in_exactly_one_window(lengths, max_len):
    data = SequenceData.from_interactions(distinct_items(lengths), max_len=max_len)
    rows = [originals(data, row) for row in data.train]
    assert data.train.shape == (len(rows), max_len + 1)
    found = sorted(pair for row in rows for pair in pairwise(row))
    expected = [
        (1000 * user + i, 1000 * user + i + 1)
        for user, length in enumerate(lengths)
        for i in range(length - 3)
    ]
    assert found == expected
    # Windows are counted from the end: only the first of a user may be padded.
    ends = {1000 * user + length - 3 for user, length in enumerate(lengths)}
    assert all(len(row) == max_len + 1 or row[0] % 1000 == 0 for row in rows)
    assert {row[-1] for row in rows if row[-1] in ends} == {e for e in ends if e % 1000 > 0}


@given(st.lists(st.integers(3, 12), min_size=1, max_size=6), st.integers(1, 15))
def test_what_is_held_out_is_seen_by_nothing_before_it(lengths, max_len):
    data = SequenceData.from_interactions(distinct_items(lengths), max_len=max_len)
    trained, valid_seen = (
        set(data.train.unique().tolist()),
        set(data.valid.contexts.unique().tolist()),
    )
    assert not trained & set(data.valid.targets.tolist())
    assert not (trained | valid_seen) & set(data.test.targets.tolist())
    assert not valid_seen & set(data.valid.targets.tolist())
    assert torch.equal(data.test.contexts[:, -1], data.valid.targets)


def test_a_small_table_by_hand():
    table = frame(["b", "a", "b", "c", "d"], ["b", "c", "e", "a"])
    data = SequenceData.from_interactions(table, max_len=3)
    # Training: b a b and b c. Counts b 3, a 1, c 1; d and e are held out and stand at the end.
    assert data.catalogue.items.tolist() == ["b", "a", "c", "d", "e"]
    assert data.catalogue.counts.tolist() == [3, 1, 1, 0, 0]
    assert data.train.tolist() == [[0, 1, 2, 1], [0, 0, 1, 3]]
    assert data.valid.contexts.tolist() == [[1, 2, 1], [0, 1, 3]]
    assert data.valid.targets.tolist() == [3, 5]
    assert data.test.contexts.tolist() == [[2, 1, 3], [1, 3, 5]]
    assert data.test.targets.tolist() == [4, 2]
    assert (data.max_len, data.split, data.dropped_users) == (3, "leave_one_out", 0)


def test_counts_come_from_the_training_part_alone():
    """With its held-out items counted, item 9 would be the most popular of all."""
    data = SequenceData.from_interactions(frame(*([1, 2, 1, 9, 9] for _ in range(5))))
    assert data.catalogue.items.tolist() == [1, 2, 9]
    assert data.catalogue.counts.tolist() == [10, 5, 0]


def test_ties_of_popularity_go_by_original_id():
    data = SequenceData.from_interactions(frame([30, 4, 200, 7, 7], [200, 30, 4, 7, 7]))
    assert data.catalogue.items.tolist() == [4, 30, 200, 7]


def test_all_items_equally_popular():
    data = SequenceData.from_interactions(frame(*([5, 3, 8, 5, 3] for _ in range(4))))
    assert data.catalogue.items.tolist() == [3, 5, 8]
    assert data.catalogue.counts.tolist() == [4, 4, 4]


def test_equal_times_keep_the_order_of_the_table():
    data = SequenceData.from_interactions(frame([3, 1, 2, 5, 4], times=[7, 7, 7, 7, 7]))
    assert originals(data, data.test.contexts[0]) == [3, 1, 2, 5]
    assert originals(data, data.test.targets) == [4]


def test_the_order_of_the_table_matters_only_for_equal_times(table, data):
    shuffled = table.sample(frac=1, random_state=1)
    again = SequenceData.from_interactions(shuffled, max_len=8)
    assert torch.equal(again.train, data.train)
    assert torch.equal(again.test.contexts, data.test.contexts)
    assert again.catalogue.items.tolist() == data.catalogue.items.tolist()


def test_a_table_in_order_is_not_sorted(table, monkeypatch):
    ordered = table.sort_values(["user", "timestamp"])
    expected = SequenceData.from_interactions(ordered[::-1])
    monkeypatch.setattr(pd.DataFrame, "sort_values", lambda *_, **__: pytest.fail("sorted"))
    assert torch.equal(SequenceData.from_interactions(ordered).train, expected.train)


@pytest.mark.parametrize("users", [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1]])
@pytest.mark.parametrize("times", [[1, 2, 3, 1, 2, 3], [1, 3, 2, 3, 2, 2], [7, 8, 9, 4, 5, 6]])
def test_any_order_of_rows_is_sorted(users, times):
    table = pd.DataFrame({"user": users, "item": [*"abcdef"], "timestamp": times})
    data = SequenceData.from_interactions(table)
    sequences = sequences_of(table, shortest=3)
    assert data.catalogue.originals(data.test.targets) == [s[-1] for s in sequences]
    assert data.catalogue.originals(data.valid.targets) == [s[-2] for s in sequences]


def test_the_table_is_left_as_it_was(table):
    before = table.copy()
    SequenceData.from_interactions(table)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    "times",
    [
        pd.to_datetime(["2020-01-04", "2020-01-01", "2020-01-03", "2020-01-02"]),
        pd.to_datetime(["2020-01-04", "2020-01-01", "2020-01-03", "2020-01-02"], utc=True),
        [4.0, -1.5, 3.0, 2.5],
        np.array([4, 1, 3, 2], dtype=np.uint8),
        pd.array([4, 1, 3, 2], dtype="Int64"),
    ],
)
def test_times_may_be_numbers_or_dates(times):
    data = SequenceData.from_interactions(frame([1, 2, 3, 4], times=times))
    assert originals(data, data.test.contexts[0]) == [2, 4, 3]


@pytest.mark.parametrize("kind", [str, "string", "category", object])
def test_users_and_items_may_be_text_or_categories(kind):
    table = frame(["b", "a", "b", "c"], ["b", "c", "a", "a"]).astype({"user": str})
    data = SequenceData.from_interactions(table.astype({"user": kind, "item": kind}))
    assert list(data.catalogue.items) == ["b", "a", "c"]
    assert data.test.targets.tolist() == [3, 2]


def test_further_columns_and_a_strange_index_are_ignored(data, table):
    table = table.assign(rating=np.nan)
    table.index = [7] * len(table)
    assert torch.equal(SequenceData.from_interactions(table, max_len=8).train, data.train)


def test_a_window_longer_than_any_history():
    data = SequenceData.from_interactions(frame([1, 2, 3, 4, 5]), max_len=100)
    assert data.train.shape == (1, 101)
    assert originals(data, data.train[0]) == [1, 2, 3]


def test_users_with_one_training_item_train_nothing_but_are_tested():
    data = SequenceData.from_interactions(frame([1, 2, 3], [3, 2, 1]), max_len=4)
    assert data.train.shape == (0, 5)
    assert data.valid.targets.tolist() == [3, 3]
    assert data.valid.contexts.tolist() == [[0, 0, 0, 1], [0, 0, 0, 2]]
    with pytest.raises(ValueError, match="needs a user with 4, or split by user"):
        fit(SequentialRecommender(nextitnet(data.n_items, width=4)), data)
    SequenceData.from_interactions(frame([1, 2, 3], [3, 2, 1, 4])).check_trainable()


def test_ids_and_windows_are_64_bit_integers(data):
    parts = (data.train, data.valid.contexts, data.valid.targets, data.test.targets)
    assert all(part.dtype == torch.long for part in parts)


# --- by user -------------------------------------------------------------------------------------


def users_of(data: SequenceData, part: str) -> list[int]:
    """Users of a part, told by their items in a table of `distinct_items`."""
    if part == "train":
        return sorted({row[-1] // 1000 for row in map(lambda r: originals(data, r), data.train)})
    return [target // 1000 for target in originals(data, getattr(data, part).targets)]


@given(st.lists(st.integers(2, 8), min_size=10, max_size=45), st.integers(0, 99))
def test_by_user_gives_each_user_to_one_part(lengths, seed):
    data = SequenceData.from_interactions(
        distinct_items(lengths), max_len=9, split="by_user", seed=seed
    )
    train, valid, test = (users_of(data, part) for part in ("train", "valid", "test"))
    assert sorted(train + valid + test) == list(range(len(lengths)))
    assert len(valid) == len(test) == len(lengths) // 10
    rows = {row[-1] // 1000: row for row in (originals(data, r) for r in data.train)}
    assert rows == {user: [1000 * user + i for i in range(lengths[user])] for user in train}
    for users, part in ((valid, data.valid), (test, data.test)):
        whole = [1000 * user + lengths[user] - 1 for user in users]
        assert originals(data, part.targets) == whole
        contexts = [originals(data, row) for row in part.contexts]
        assert contexts == [[1000 * u + i for i in range(lengths[u] - 1)] for u in users]


def test_by_user_counts_the_training_users_alone():
    data = SequenceData.from_interactions(distinct_items([4] * 20), split="by_user")
    counts = dict(zip(data.catalogue.items.tolist(), data.catalogue.counts.tolist(), strict=True))
    trained = users_of(data, "train")
    assert all(count == (item // 1000 in trained) for item, count in counts.items())


def test_the_seed_draws_the_users():
    table = distinct_items([4] * 40)
    draws = [
        users_of(SequenceData.from_interactions(table, split="by_user", seed=seed), "test")
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_too_few_users_to_split_by_user_are_refused():
    with pytest.raises(ValueError, match=r"9 users .* at least 10; use split='leave_one_out'"):
        SequenceData.from_interactions(distinct_items([4] * 9), split="by_user")


# --- by time -------------------------------------------------------------------------------------

TIMES = st.lists(st.lists(st.integers(0, 60), min_size=2, max_size=9), min_size=3, max_size=12)


@given(TIMES, st.integers(1, 6), st.sampled_from(["by_time", "by_time_first", "by_time_last"]))
def test_by_time_is_its_restatement(users, max_len, split):
    rows = [(user, time) for user, times in enumerate(users) for time in sorted(times)]
    table = pd.DataFrame(rows, columns=["user", "timestamp"]).assign(item=range(len(rows)))
    in_order = sorted(table["timestamp"])
    first, second = (in_order[len(rows) * share // 100] for share in (81, 90))
    histories = [
        [*zip(own["timestamp"], own["item"], strict=True)] for _, own in table.groupby("user")
    ]
    only_order = all(
        [time - own[0][0] for time, _ in own] == [*range(len(own))] for own in histories
    )
    periods = {"valid": (first, second), "test": (second, 61)}
    choices = {  # the places of the items that may be each user's target
        part: [
            [p for p, (time, _) in enumerate(own) if p and low <= time < high] for own in histories
        ]
        for part, (low, high) in periods.items()
    }
    if only_order or not all(any(places) for places in choices.values()):
        with pytest.raises(ValueError, match=r"no times|no user has an item"):
            SequenceData.from_interactions(table, max_len, split)
        return
    data = SequenceData.from_interactions(table, max_len, split)
    trained = {item for own in histories for time, item in own if time < first}
    counts = dict(zip(data.catalogue.items.tolist(), data.catalogue.counts.tolist(), strict=True))
    assert {item for item, count in counts.items() if count} == trained
    for part, found in (("valid", data.valid), ("test", data.test)):
        pairs = [
            (own, places) for own, places in zip(histories, choices[part], strict=True) if places
        ]
        assert len(pairs) == len(found.targets)
        targets = originals(data, found.targets)
        for (own, places), target, context in zip(pairs, targets, found.contexts, strict=True):
            place = [item for _, item in own].index(target)
            allowed = {"by_time_first": places[:1], "by_time_last": places[-1:]}
            assert place in allowed.get(split, places)
            assert originals(data, context) == [item for _, item in own[:place]][-max_len:]


def test_by_time_the_seed_draws_the_targets():
    times = np.random.default_rng(0).integers(0, 10**6, 2000)
    table = frame(*np.arange(2000).reshape(20, 100).tolist()).assign(timestamp=times)
    drawn = [
        SequenceData.from_interactions(table, split="by_time", seed=seed).test.targets.tolist()
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_by_time_takes_dates():
    times = np.random.default_rng(0).integers(0, 10**6, 200)
    table = frame(*np.arange(200).reshape(20, 10).tolist()).assign(timestamp=times)
    dated = table.assign(timestamp=pd.to_datetime(times, unit="s"))
    one, other = (SequenceData.from_interactions(each, split="by_time") for each in (table, dated))
    assert torch.equal(one.train, other.train) and torch.equal(one.test.targets, other.test.targets)


def test_by_time_needs_more_than_an_order():
    table = frame([1, 2, 3], [2, 3, 1])
    table["timestamp"] = [0, 1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match="an order but no times: every user's timestamps count 0"):
        SequenceData.from_interactions(table, split="by_time")


def test_by_time_needs_times_that_differ():
    table = frame([1, 2, 3], [2, 3, 1]).assign(timestamp=7)
    with pytest.raises(ValueError, match="no user has an item in the valid period and an earlier"):
        SequenceData.from_interactions(table, split="by_time")


# --- users too short to split --------------------------------------------------------------------


@pytest.mark.parametrize(("split", "shortest"), [("leave_one_out", 3), ("by_user", 2)])
def test_users_too_short_to_split_are_dropped_and_counted(split, shortest):
    lengths = [5] * 12 + [shortest] + [shortest - 1] * 2 + [1]
    message = f"3 of 16 users have fewer than {shortest} interactions, too few to split, and were"
    with pytest.warns(UserWarning, match=message) as caught:
        data = SequenceData.from_interactions(distinct_items(lengths), split=split)
    assert data.dropped_users == 3
    assert {item // 1000 for item in data.catalogue.items} == set(range(13))
    assert caught[0].filename == __file__


def test_only_short_users_are_refused():
    with (
        pytest.warns(UserWarning, match="2 of 2 users"),
        pytest.raises(ValueError, match=r"no user has the 3 .*; the longest history has 2"),
    ):
        SequenceData.from_interactions(frame([1, 2], [3]))


# --- bad tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["user", "item", "timestamp"])
def test_a_missing_column_is_named(column):
    table = frame([1, 2, 3]).drop(columns=column)
    with pytest.raises(ValueError, match=rf"column '{column}' is missing; the table has \["):
        SequenceData.from_interactions(table)


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match="the table is empty; it needs at least one user"):
        SequenceData.from_interactions(frame())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("user", None),
        ("item", np.nan),
        ("timestamp", np.nan),
        ("timestamp", np.inf),
        ("timestamp", -np.inf),
        ("timestamp", pd.NaT),
    ],
)
def test_rows_without_a_usable_value_are_counted_and_named(column, value):
    table = frame([1, 2, 3, 4], [1, 2, 3])
    kind = "datetime64[s]" if value is pd.NaT else "float64"
    table = table.astype({column: kind})
    table.loc[[2, 5], column] = value
    with pytest.raises(ValueError, match=f"2 rows have no usable {column}, the first is row 2 "):
        SequenceData.from_interactions(table)


@pytest.mark.parametrize(
    "times", [["9", "10", "11", "12"], ["noon"] * 4, [1, "2", 3, 4], [None] * 4]
)
def test_texts_that_may_not_sort_by_time_are_refused(times):
    with pytest.raises(ValueError, match=r"timestamp has the type .*pd\.to_datetime"):
        SequenceData.from_interactions(frame([1, 2, 3, 4], times=pd.Series(times, dtype=object)))


@pytest.mark.parametrize("kind", ["bool", "complex"])
def test_numbers_that_are_no_times_are_refused(kind):
    table = frame([1, 2, 3, 4]).astype({"timestamp": kind})
    with pytest.raises(ValueError, match=f"timestamp has the type {kind}"):
        SequenceData.from_interactions(table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_len": 0}, "max_len 0 is below 1"),
        ({"max_len": -5}, "max_len -5 is below 1"),
        ({"max_len": 2.5}, "max_len 2.5 is not a whole number"),
        ({"split": "random"}, "unknown split 'random'; choose one of leave_one_out, by_user"),
        ({"split": None}, "unknown split None"),
    ],
)
def test_unknown_settings_are_refused(table, options, message):
    with pytest.raises(ValueError, match=message):
        SequenceData.from_interactions(table, **options)


# --- the catalogue -------------------------------------------------------------------------------


def test_ids_and_originals_are_each_others_inverse(data):
    ids = list(range(1, data.n_items + 1))
    found = data.catalogue.originals(ids)
    assert found == data.catalogue.items.tolist()
    assert data.catalogue.ids(found) == ids
    assert data.catalogue.ids(reversed(found)) == ids[::-1]
    assert data.catalogue.ids([]) == data.catalogue.originals([]) == []


def test_an_unknown_item_is_refused_with_the_nearest_ones():
    catalogue = Catalogue(np.array(["Alien", "Aliens", "Heat"]), np.array([3, 2, 1]))
    with pytest.raises(ValueError, match="item 'Alienz' is not in the catalogue; the nearest are"):
        catalogue.ids(["Heat", "Alienz"])
    with pytest.raises(ValueError, match=r"item 'Zzzz' is not in the catalogue$"):
        catalogue.ids(["Zzzz"])


@pytest.mark.parametrize("wrong", [0, -1, 26])
def test_an_id_outside_the_catalogue_is_refused(data, wrong):
    with pytest.raises(ValueError, match=rf"item id {wrong} is outside 1\.\.25; 0 is padding and"):
        data.catalogue.originals([1, wrong])
