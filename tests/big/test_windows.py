"""Windows cut from some users at a time, and the order in which training reads them."""

import numpy as np
import torch

from cprec_lib.big import windows
from cprec_lib.data import sequences


def test_blocks_of_windows_are_shuffled_and_none_is_lost(monkeypatch) -> None:
    monkeypatch.setattr(windows, "POOL", 3)
    torch.manual_seed(0)
    order = windows.shuffled(101, 4)
    assert sorted(order.tolist()) == list(range(101))
    first = order[:12] // 4  # a pool holds three whole blocks
    assert len(set(first.tolist())) == 3 and order[:12].tolist() != sorted(order[:12].tolist())
    torch.manual_seed(0)
    plain = torch.randperm(101)
    torch.manual_seed(0)
    assert torch.equal(windows.shuffled(101, 1), plain)


def test_groups_hold_whole_sequences_and_all_rows_once(monkeypatch) -> None:
    monkeypatch.setattr(windows, "ROWS", 16)
    starts, ends = windows.users(np.array([3, 40, 2, 5, 5, 5, 1]))
    rows, found = np.arange(61), []
    for base, some, (own_starts, own_ends) in windows.groups(rows, starts, ends):
        assert some[0] == base and len(own_starts) <= 2
        found += [some[a:b].tolist() for a, b in zip(own_starts, own_ends, strict=True)]
    assert found == [list(range(a, b)) for a, b in zip(starts, ends, strict=True)]


def test_files_are_those_of_the_way_in_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(windows, "ROWS", 16)
    codes = np.random.default_rng(0).integers(0, 9, 60).astype(np.int32)
    lengths = np.array([3, 30, 4, 23])
    bounds = windows.split(np.arange(60), [], lengths, "leave_one_out", 0)
    order, counts = windows.number_items(codes, bounds["train"], 9)
    assert (np.diff(counts[order]) <= 0).all() and counts.sum() == 60 - 2 * 4
    windows.write(tmp_path, codes, np.arange(1, 10), bounds, 5)
    train, valid, test = windows.read(tmp_path)
    assert torch.equal(train, sequences.windows(codes + np.int64(1), *bounds["train"], 5))
    expected = sequences.held_out(codes + np.int64(1), *bounds["test"], 5)
    assert torch.equal(test.contexts, expected.contexts)
    assert torch.equal(test.targets, expected.targets) and len(valid.targets) == 4
