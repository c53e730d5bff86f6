"""Records: one small JSON file per run, sealed with a checksum, read by variant and seed."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from cprec_lib.data.sequences import SequenceData
from cprec_lib.files import make_folder, sha256, write_text
from cprec_lib.machine import MachineRecord
from cprec_lib.model.partition import cutoffs_from_shares
from cprec_lib.train.data_record import DataRecord
from cprec_lib.train.evaluation import Ranks

RESULTS = Path(__file__).resolve().parents[2] / "results"
"""The results that come with this checkout, wherever a notebook that reads them lies."""
SEAL = "sha256"
_AGAIN = (
    "restore it with git, or delete it and repeat the command that made it (`cprec reproduce`, "
    "`cprec race` or `python -m benchmarks`)"
)
ADDED = {"shard": False}
"""Fields of `TrainConfig` that came after the first records, with the value that those runs had."""
Sealed = dict[str, Any]
"""What a sealed file holds: a record, the times of a race, or a row of the benchmark."""

Part = TypedDict("Part", {"end": float, "users": int, "ndcg@10": float | None})
"""NDCG@10 of the users whose target lies in one part of the catalogue; see `by_popularity`."""


class Made(DataRecord, MachineRecord):
    """What records and times say about the data, the machine, the software and the day."""

    dataset: str
    commit: str | None
    date: str


class Trained(TypedDict, total=False):
    """What records say about training; absent for variants that are not trained.

    `seconds` are seconds of training; `train_loss` (nats) is that of the best epoch. `stopped`
    says what ended the training: "patience" (no better epoch), or "epochs" (their largest number).
    The oldest records lack `latency_ms`, `search_rules` and `peak_bytes`, older ones `stopped`.
    """

    parameters_by_part: dict[str, int]
    bytes: int
    seconds: float
    seconds_per_epoch: float
    epochs: int
    best_epoch: int
    stopped: str
    train_loss: float
    latency_ms: dict[str, float]
    search_rules: dict[str, float]
    peak_bytes: int | None


class Record(Made, Trained):
    """One run: the model, its data, its training, and the results.

    `seed` is the seed of the training: initial weights, order of the windows, dropout.
    `config_sha256` is the `sha256_of` everything that defines the run except the data. A variant
    that is not trained has None for both configurations. Ranks are packed by `pack_ranks`.
    """

    variant: str
    model_config: dict[str, Any] | None
    train_config: dict[str, Any] | None
    users: int | None
    config_sha256: str
    seed: int
    parameters: int
    valid: dict[str, float]
    test: dict[str, float]
    test_by_popularity: list[Part]
    test_ranks: str


class Times(Made):
    """A race of untrained models: milliseconds per round, by quantity and by variant's key."""

    width: int
    batch_size: int
    precision: str
    milliseconds: dict[str, dict[str, list[float]]]


# ---- Sealed files ----


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result with its seal. Raises OSError if it cannot be written."""
    make_folder(path.parent)
    write_text(path, json.dumps({**result, SEAL: sha256_of(result)}) + "\n")


def read_result(path: Path) -> Sealed:
    """Read a result and check its seal.

    Raises ValueError, which names the file, if the file was cut short or edited.
    """
    try:
        result = dict(json.loads(path.read_text(encoding="utf-8")))
        seal = result.pop(SEAL, "none")
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a result file ({error}); name another one. If it was a result, {_AGAIN}"
        ) from error
    if seal != sha256_of(result):
        raise ValueError(f"{path} was edited or cut short: its seal does not fit; {_AGAIN}")
    return result


def read_record(path: Path) -> Record:
    """Read a record. Raises ValueError like `read_result`, or if a field is missing.

    `ADDED` completes the training's configuration.
    """
    record = cast(Record, _whole(path, Record.__required_keys__))
    if record["train_config"] is not None:
        record["train_config"] = {**ADDED, **record["train_config"]}
    return record


def read_times(path: Path) -> Times:
    """Read times. Raises ValueError like `read_result`, or if a field is missing."""
    return cast(Times, _whole(path, Times.__required_keys__))


def _whole(path: Path, keys: frozenset[str]) -> Sealed:
    result = read_result(path)
    if lacking := sorted(keys - {*result}):
        raise ValueError(
            f"{path} lacks {', '.join(lacking)}: another version of the library recorded it; "
            f"{_AGAIN}"
        )
    return result


def sha256_of(value: Any) -> str:
    """SHA-256 of a JSON value; the order of its keys does not matter."""
    return sha256([json.dumps(value, sort_keys=True, separators=(",", ":")).encode()])


def pack_ranks(ranks: np.ndarray) -> str:
    """Ranks [U] as text: int32, little-endian, deflated, base64."""
    return base64.b64encode(zlib.compress(ranks.astype("<i4").tobytes(), 9)).decode()


def unpack_ranks(text: str) -> Ranks:
    """The ranks that `pack_ranks` packed."""
    return Ranks(np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<i4"))


# ---- Folders of records ----


def read_all(folder: Path) -> dict[str, list[Record]]:
    """Every record in a folder, by the key of its variant. A copy of a file counts once.

    Raises FileNotFoundError, with the folder's whole path, if there is none. Raises ValueError like
    `read_record`, and if two files are different records of the same run.
    """
    records: dict[str, list[Record]] = {}
    known: dict[str, tuple[Path, Record]] = {}
    for path in sorted(folder.glob("*.json")):
        record = read_record(path)
        first, same = known.setdefault(_identity(record), (path, record))
        if same != record:
            raise ValueError(f"{first} and {path} are two records of one run; keep one of them")
        if first == path:
            records.setdefault(record["variant"], []).append(record)
    if not records:
        raise FileNotFoundError(f"no results in {folder.resolve()}; `cprec reproduce` makes them")
    return records


def read_any(folder: Path) -> dict[str, list[Record]]:
    """`read_all`, but nothing where nothing is recorded yet."""
    return read_all(folder) if any(folder.glob("*.json")) else {}


def _identity(record: Record) -> str:
    """What identifies a run: the variant, everything in `config_sha256`, and the data."""
    return sha256_of(
        [
            record["variant"],
            record["model_config"],
            record["train_config"],
            record["max_len"],
            record["split"],
            record["split_seed"],
            record["users"],
            record["data_sha256"],
        ]
    )


def scores_by_trial(runs: Iterable[Record]) -> dict[tuple[float, float], dict[int, float]]:
    """Validation NDCG@10 by trial (learning rate and dropout) and by seed."""
    scores: dict[tuple[float, float], dict[int, float]] = {}
    for run in runs:
        if trial := trial_of(run):
            scores.setdefault(trial, {})[run["seed"]] = run["valid"]["ndcg@10"]
    return scores


def tuned(runs: Sequence[Record]) -> list[Record]:
    """The runs of the best trial, one per seed.

    The best has the highest validation NDCG@10: the mean over seeds 0 to 2 among the trials that
    have all three, or that of seed 0 if none has. Raises ValueError if no trial has seed 0.
    """
    scores = scores_by_trial(runs)
    if not scores:
        return list(runs)
    whole = {trial: own for trial, own in scores.items() if {0, 1, 2} <= {*own}}
    means = {trial: (own[0] + own[1] + own[2]) / 3 for trial, own in whole.items()}
    first = {trial: own[0] for trial, own in scores.items() if 0 in own}
    if not first:
        raise ValueError(
            f"no run of {runs[0]['variant']!r} has seed 0; `cprec reproduce` records it"
        )
    best = max(means or first, key=(means or first).__getitem__)
    same = (run for run in runs if trial_of(run) == best)
    return sorted(same, key=lambda run: run["seed"])


def seeds_of(path: Path) -> list[Record]:
    """The records of all seeds of the trial of the record `path`, from the folder of the record."""
    own = read_record(path)
    runs = read_all(path.parent)[own["variant"]]
    return [run for run in runs if trial_of(run) == trial_of(own)]


def tables(results: Mapping[str, Sequence[Record]]) -> dict[str, np.ndarray]:
    """NDCG@10 of every trained variant: one row per run, one column per user [S, U]."""
    return {
        key: np.stack([unpack_ranks(run["test_ranks"]).values("ndcg@10") for run in runs])
        for key, runs in results.items()
        if runs[0]["train_config"]
    }


def provenance(results: Mapping[str, Sequence[Record]]) -> str:
    """One sentence on where and when the runs were made."""
    runs = [run for group in results.values() for run in group]

    def each(values: Iterable[object]) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    return (
        f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} of "
        f"{each(run['dataset'] for run in runs)}, recorded "
        f"{each(run['date'] for run in runs)} on {each(run['device'] for run in runs)} "
        f"({each(run['hardware'] for run in runs)}, threads: "
        f"{each(run['threads'] for run in runs)}) with torch "
        f"{each(run['versions']['torch'] for run in runs)}."
    )


def record_name(variant: str, trial: tuple[float, float] | None, seed: int) -> str:
    """Name of a record's file without its extension; `trial` is learning rate and dropout."""
    return f"{variant}-lr{trial[0]:g}-d{trial[1]:g}-s{seed}" if trial else variant


def by_popularity(
    ranks: Ranks, data: SequenceData, shares: Sequence[float] = (0.1, 0.33)
) -> list[Part]:
    """NDCG@10 of the users whose target lies in the head, in the middle and in the far tail.

    One entry per part, the most popular first: the share of the items where the part ends, its
    users, and their mean NDCG@10, or None without users.
    """
    ends = (*cutoffs_from_shares(data.n_items, shares), data.n_items)
    part = np.searchsorted(ends, data.test.targets.numpy())
    ndcg = ranks.values("ndcg@10")
    inside = [ndcg[part == p] for p in range(len(ends))]
    return [
        {"end": end, "users": len(own), "ndcg@10": float(own.mean()) if len(own) else None}
        for end, own in zip((*shares, 1.0), inside, strict=True)
    ]


def trial_of(run: Record) -> tuple[float, float] | None:
    """Learning rate and dropout of a run; None for a variant that is not trained."""
    training, config = run["train_config"], run["model_config"]
    if training is None or config is None:
        return None
    return float(training["learning_rate"]), float(config["dropout"])
