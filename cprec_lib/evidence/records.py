"""Recorded runs: one small JSON file each, sealed with a checksum, read back by model and seed."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cprec_lib.data.sequences import SequenceData
from cprec_lib.files import make_folder, write_text
from cprec_lib.model.partition import cutoffs_from_shares
from cprec_lib.train.evaluation import Ranks

SEAL = "sha256"
Result = dict[str, Any]


def write_result(path: Path, result: Result) -> None:
    """Write a result with its seal. Raises OSError if it cannot be written."""
    make_folder(path.parent)
    write_text(path, json.dumps({**result, SEAL: digest(result)}) + "\n")


def read_result(path: Path) -> Result:
    """Read a result whose seal is whole.

    Raises ValueError, which names the file, if it was cut short or edited.
    """
    try:
        result = dict(json.loads(path.read_text(encoding="utf-8")))
        seal = result.pop(SEAL, "none")
    except ValueError as error:
        raise ValueError(f"{path} is no result file ({error}); {_AGAIN}") from error
    if seal != digest(result):
        raise ValueError(f"{path} was edited or cut short: its seal does not fit; {_AGAIN}")
    return result


_AGAIN = "delete it, and `cprec reproduce` runs it again"


def digest(values: Any) -> str:
    """SHA-256 of any JSON value, whatever the order of its keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def pack_ranks(ranks: np.ndarray) -> str:
    """Ranks [U] as text: int32, little-endian, deflated, base64."""
    return base64.b64encode(zlib.compress(ranks.astype("<i4").tobytes(), 9)).decode()


def unpack_ranks(text: str) -> Ranks:
    """The ranks that `pack_ranks` packed."""
    return Ranks(np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<i4"))


def read_all(folder: Path) -> dict[str, list[Result]]:
    """Every recorded run in a folder, by model.

    Raises FileNotFoundError if there is none, ValueError as `read_result` does.
    """
    results: dict[str, list[Result]] = {}
    for path in sorted(folder.glob("*.json")):
        result = read_result(path)
        results.setdefault(result["model"], []).append(result)
    if not results:
        raise FileNotFoundError(f"no results in {folder.name}; `cprec reproduce` makes them")
    return results


def tuned(runs: Sequence[Result]) -> list[Result]:
    """The runs, one a seed, of the trial with the best validation NDCG@10 of seed 0."""
    best = max(
        (run for run in runs if run["seed"] == 0), key=lambda run: float(run["valid"]["ndcg@10"])
    )
    same = (run for run in runs if trial_of(run) == trial_of(best))
    return sorted(same, key=lambda run: int(run["seed"]))


def read_results(folder: Path, names: Sequence[str] = ()) -> dict[str, list[Result]]:
    """Recorded runs by model, each at its tuned learning rate, one a seed.

    A model that still lacks a learning rate that another one has is left out. It would lose to that
    one for this alone: on Amazon Beauty a missing rate made -9 % look like +62 %. So a new rate of
    one model leaves out the others until they have it. `names` choose and order the models; left
    out, all of them by name. Raises FileNotFoundError for a model that is not there or left out,
    and as `read_all` does.
    """
    results = read_all(folder)
    rates = {name: {learning_rate(run) for run in runs} for name, runs in results.items()}
    tried = set().union(*rates.values()) - {None}
    complete = [name for name in results if rates[name] in ({None}, tried)]
    for name in names:
        if name not in complete:
            raise FileNotFoundError(
                f"{folder.name} lacks results of {name!r}, or some of its learning rates; "
                "`cprec reproduce` makes them"
            )
    return {name: tuned(results[name]) for name in names or complete}


def values(runs: Iterable[Result], metric: str = "ndcg@10") -> np.ndarray:
    """A metric for each user [U], averaged over the runs (seeds)."""
    each = [unpack_ranks(run["test_ranks"]).values(metric) for run in runs]
    mean: np.ndarray = np.stack(each).mean(axis=0)
    return mean


def provenance(results: Mapping[str, Sequence[Result]]) -> str:
    """One sentence on where and when runs were made."""
    runs = [run for group in results.values() for run in group]

    def each(*keys: str) -> str:
        found: list[Any] = runs
        for key in keys:
            found = [value[key] for value in found]
        return ", ".join(sorted({str(value) for value in found}))

    return (
        f"{len(runs)} runs of {each('dataset')}, recorded {each('date')} on {each('device')} "
        f"({each('hardware')}, threads: {each('threads')}) with torch {each('versions', 'torch')}."
    )


def by_popularity(
    ranks: Ranks, data: SequenceData, shares: Sequence[float] = (0.1, 0.33)
) -> list[dict[str, float | None]]:
    """NDCG@10 of the users whose target lies in the head, in the middle and in the far tail.

    One entry a part, the most popular first: the share of the items where it ends, its users, and
    their mean NDCG@10, None without users.
    """
    ends = (*cutoffs_from_shares(data.n_items, shares), data.n_items)
    part = np.searchsorted(ends, data.test.targets.numpy())
    ndcg = ranks.values("ndcg@10")
    inside = [ndcg[part == p] for p in range(len(ends))]
    return [
        {"end": end, "users": len(own), "ndcg@10": float(own.mean()) if len(own) else None}
        for end, own in zip((*shares, 1.0), inside, strict=True)
    ]


def learning_rate(run: Result) -> float | None:
    """The learning rate of a run; None for a model that only counts."""
    training = run["train_config"]
    return training["learning_rate"] if training else None


def trial_of(run: Result) -> tuple[float, float] | None:
    """Learning rate and dropout of a run; None for a model that only counts."""
    rate = learning_rate(run)
    return None if rate is None else (rate, float(run["model_config"]["dropout"]))


def comparisons(result: Result) -> pd.DataFrame:
    """A line for each rival of a benchmark's row: how many times ours is as fast, and the memory.

    Columns: case, ours, rival, faster, lowest, highest, memory (times ours; NaN where unknown).
    """
    lines = [
        (case["case"], case["ours"], rival, *ratios, case.get("times the memory", {}).get(rival))
        for case in result["cases"]
        for rival, ratios in case["times as fast"].items()
    ]
    columns = ["case", "ours", "rival", "faster", "lowest", "highest", "memory"]
    return pd.DataFrame(lines, columns=columns).astype({"memory": float})
