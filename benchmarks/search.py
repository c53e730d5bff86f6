"""Exact top-10 for one and for 64 histories on one thread, compared with other searches.

The time is that of the search alone, from hidden vectors to items; the layers before it are the
same for all sides.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.child import Work, one_thread, require
from benchmarks.contest import Side, case
from benchmarks.losses import stock_twin
from cprec_lib import (
    BlockSoftmax,
    SequenceData,
    SequentialRecommender,
    TailBounds,
    cprec,
    load_interactions,
)
from cprec_lib.evidence.search_rules import compare_rules
from cprec_lib.files import save_tensors
from cprec_lib.logs.synthetic import Synthetic

TITLE = "Exact top-10 of a whole catalogue, one thread"
WIDTH, K, SHARES, LENGTH = 64, 10, (0.01, 0.1), 20
SUB_ITEMS, CODES = 8, 256
SIZES, QUICK = (50_000, 300_000, 1_000_000), (50_000,)
STEPS, RATE, BATCH = 150, 0.005, 16
AT_ONCE, IN_A_ROW = 64, 16
Search = Callable[[Tensor], tuple[Tensor, Tensor]]


def row(quick: bool) -> dict[str, Any]:
    """Times of every search and of reading the bytes that it needs; how often tails are skipped."""
    cases, rules = [], []
    for n_items in QUICK if quick else SIZES:
        model, hidden = trained(n_items)
        rules.append({"model": f"synthetic, {n_items:,} items", **rules_of(model, hidden)})
        reads = bytes_read(model)
        with tempfile.TemporaryDirectory() as folder:
            model.save(folder)
            save_tensors(Path(folder) / "hidden.safetensors", {"hidden": hidden[:AT_ONCE]})
            for at_once in (1, AT_ONCE):
                name = f"{n_items:,} items, {at_once} at once"
                # One history takes a millisecond or less, so times vary more.
                rounds = 3 if at_once == 1 and not quick else 2
                found = case(name, _sides(folder, n_items, at_once), rounds)
                found["sides"].update(floors(reads, rounds, at_once))
                cases.append({**found, "searches_per_call": _batches(at_once)})
    if not quick:
        rules.append({"model": "ml-100k", **rules_of(*_movielens())})
    return {"title": TITLE, "threads": 1, "width": WIDTH, "cases": cases, "rules": rules}


def _batches(at_once: int) -> int:
    return IN_A_ROW if at_once == 1 else 1


def _sides(folder: str, n_items: int, at_once: int) -> list[Side]:
    def side(name: str, way: str, group: str, calls: int = 3) -> Side:
        options = {"folder": folder, "n_items": n_items, "at_once": at_once}
        return Side(name, f"benchmarks.search:{way}", options, group, calls, threads=1)

    # Adding up sub-items takes seconds for many items and histories.
    calls = 1 if n_items * at_once > 1e7 else 3
    return [
        side("CpRec with bounds", "with_bounds", "blocks"),
        side("CpRec without bounds", "without_bounds", "blocks"),
        side("adaptive log_prob, top-k", "all_log_probs", "blocks"),
        side("full table, top-k", "full_table", "table"),
        side("sub-items (RecJPQ), top-k", "sub_items", "table", calls),
    ]


def bytes_read(model: SequentialRecommender) -> dict[str, int]:
    """Bytes that any search has to read: the root's table and the bounds, or the full table."""
    softmax = model.softmax
    assert isinstance(softmax, BlockSoftmax)
    return {
        "floor: CpRec's bytes read once": softmax.root.weight.nbytes + TailBounds(softmax).n_bytes,
        "floor: the full table read once": 4 * model.config.n_items * WIDTH,
    }


def floors(reads: Mapping[str, int], rounds: int, at_once: int) -> dict[str, Any]:
    """Seconds per round for only reading these numbers of bytes, by name."""
    return {name: {"seconds": reading(n, rounds, at_once)} for name, n in reads.items()}


def reading(n_bytes: int, rounds: int, at_once: int) -> list[float]:
    """Seconds to sum `n_bytes` of numbers as often as a call searches, on one thread."""
    numbers, seconds = torch.ones(n_bytes // 4), []
    with one_thread():
        numbers.sum()  # a warm-up, as for the sides
        for _ in range(rounds):
            started = time.perf_counter()
            for _ in range(_batches(at_once)):
                numbers.sum()
            seconds.append(time.perf_counter() - started)
    return seconds


# ---- The sides: each returns items and values for the same histories ----


def with_bounds(folder: str, n_items: int, at_once: int) -> Work:
    """Our search, which skips tail blocks that cannot matter."""
    softmax, hidden = _saved(folder)
    bound = TailBounds(softmax)
    return _work(lambda some: bound.top_k(some, K), hidden, at_once)


def without_bounds(folder: str, n_items: int, at_once: int) -> Work:
    """Our search, which knows only the blocks' tokens."""
    softmax, hidden = _saved(folder)
    return _work(lambda some: softmax.top_k(some, K), hidden, at_once)


def all_log_probs(folder: str, n_items: int, at_once: int) -> Work:
    """torch's adaptive softmax with the same weights: all log-probabilities, then the best."""
    softmax, hidden = _saved(folder)
    twin = stock_twin(softmax)
    return _work(lambda some: _best(twin.log_prob(some)), hidden, at_once)


def full_table(folder: str, n_items: int, at_once: int) -> Work:
    """The uncompressed table that `sub_items` represents: a product, then the best."""
    codes, parts = _sub_items(n_items)
    table = torch.cat([part[code] for part, code in zip(parts, codes, strict=True)], 1)
    return _work(lambda some: _best(some @ table.T), _hidden(folder), at_once)


def sub_items(folder: str, n_items: int, at_once: int) -> Work:
    """RecJPQ's scoring (Petrov and Macdonald, 2024): an item is a sum of shared sub-items.

    Each of the 8 parts of a history's vector is multiplied with 256 sub-items. An item's score is
    the sum of the 8 products that its codes select.
    """
    codes, parts = _sub_items(n_items)

    def search(some: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.zeros(len(some), n_items)
        for piece, part, code in zip(some.chunk(SUB_ITEMS, 1), parts, codes, strict=True):
            scores += (piece @ part.T)[:, code]
        return _best(scores)

    return _work(search, _hidden(folder), at_once)


def _work(search: Search, hidden: Tensor, at_once: int) -> Work:
    batches = hidden[:IN_A_ROW].split(1) if at_once == 1 else [hidden]
    require(4 * AT_ONCE * 1_000_000 * 3)

    @torch.no_grad()
    def work() -> list[float]:
        found = [search(batch) for batch in batches]
        values, items = (torch.cat(part).flatten() for part in zip(*found, strict=True))
        # The remainder modulo a small prime: ids that differ then differ beyond the tolerance.
        return [*(items % 997).tolist(), *values.tolist()]

    return work


def _best(scores: Tensor) -> tuple[Tensor, Tensor]:
    values, columns = scores.topk(K)
    return values, columns + 1


def _saved(folder: str) -> tuple[BlockSoftmax, Tensor]:
    softmax = SequentialRecommender.load(folder).softmax
    assert isinstance(softmax, BlockSoftmax)
    return softmax, _hidden(folder)


def _hidden(folder: str) -> Tensor:
    return load_file(Path(folder) / "hidden.safetensors")["hidden"]


def _sub_items(n_items: int) -> tuple[Tensor, Tensor]:
    """Codes [8, N] and sub-items [8, 256, d / 8], random: the time does not depend on them."""
    draw = torch.Generator().manual_seed(0)
    codes = torch.randint(CODES, (SUB_ITEMS, n_items), generator=draw)
    return codes, torch.randn(SUB_ITEMS, CODES, WIDTH // SUB_ITEMS, generator=draw)


# ---- The models, and how often each rule skips a block ----


def trained(n_items: int) -> tuple[SequentialRecommender, Tensor]:
    """CpRec after a short training on a synthetic log, and hidden vectors [512, d] of new users."""
    print(f"  training on {n_items:,} items", flush=True)
    options = {"items": n_items, "groups": n_items // 1000, "length": LENGTH + 1}
    model = SequentialRecommender(cprec(n_items, WIDTH, SHARES, dilations=(1, 2)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    for batch in _windows(Synthetic(users=STEPS * BATCH, **options)).split(BATCH):
        optimizer.zero_grad(set_to_none=True)
        model.loss(batch).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        unseen = _windows(Synthetic(users=512, seed=1, **options))
        return model, model.last_hidden(unseen[:, :LENGTH])


def _windows(log: Synthetic) -> Tensor:
    return torch.tensor(log.interactions()["item"].to_numpy()).view(log.users, log.length)


def _movielens() -> tuple[SequentialRecommender, Tensor]:
    """CpRec trained on ml-100k as for the tables, and its users' hidden vectors [U, d]."""
    from cprec_lib import fit  # imported here, because the sides do not need it
    from cprec_lib.evidence.settings import setting_of

    print("  training on MovieLens-100K", flush=True)
    setting = setting_of("ml-100k")
    data = SequenceData.from_interactions(load_interactions("ml-100k"), setting.max_len)
    config = cprec(data.n_items, setting.width, setting.cutoffs, dropout=setting.dropout)
    model = SequentialRecommender(config)
    fit(model, data, setting.training(setting.learning_rates[-1], seed=0), progress=False)
    model.eval()
    with torch.no_grad():
        return model, model.last_hidden(data.test.contexts)


def rules_of(model: SequentialRecommender, hidden: Tensor) -> dict[str, float]:
    """What each search rule skips and misses; see `compare_rules`."""
    assert isinstance(model.softmax, BlockSoftmax)
    rules = compare_rules(model.softmax, hidden, K)
    print("    " + ", ".join(f"{name} {share:.1%}" for name, share in rules.items()))
    return rules
