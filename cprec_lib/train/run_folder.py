"""A run is a folder: train a model into it, and read the model back with its items and data."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cprec_lib.big.memory import announce, fixed_bytes
from cprec_lib.big.sequences import Engine, load_sequences
from cprec_lib.big.sharding import newest
from cprec_lib.checks import check_choice
from cprec_lib.data.sequences import Catalogue, SequenceData
from cprec_lib.files import file_hash, named_path, write_text
from cprec_lib.logs.datasets import DATASETS, find_item, load_titles
from cprec_lib.logs.synthetic import PREFIX
from cprec_lib.machine import Device, MachineRecord, choose_device, describe_machine, require_memory
from cprec_lib.model.config import ModelConfig, cprec, gru4rec, nextitnet, sasrec
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.serve.manifest import check_no_export
from cprec_lib.train.checkpoints import CHECKPOINT, Epoch, History, TrainingRecord
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.data_record import DataRecord, describe_sequences
from cprec_lib.train.evaluation import evaluate_together
from cprec_lib.train.processes import Processes
from cprec_lib.train.training import fit

Preset = Literal["nextitnet", "cprec", "gru4rec", "sasrec"]

PRESETS: dict[str, Callable[..., ModelConfig]] = {
    "nextitnet": nextitnet,
    "cprec": cprec,
    "gru4rec": gru4rec,
    "sasrec": sasrec,
}

CONFIG, WEIGHTS = "config.json", "model.safetensors"
ITEMS, HISTORY, METRICS = "items.csv", "history.jsonl", "metrics.json"
FILES = (CONFIG, WEIGHTS, ITEMS, HISTORY, METRICS)
MANIFEST = "manifest.json"
"""Lists the SHA-256 of the other files, to show that they belong together."""
RESUME = "repeat `cprec train` with --resume (resume=True), or `cprec compress` with another --out"


class RunRecord(DataRecord, TrainingRecord, MachineRecord):
    """metrics.json of a run; `seed` is that of the training and of the initial weights."""

    dataset: str
    reading: dict[str, Any]
    model: str
    parameters: int
    valid: dict[str, float]
    test: dict[str, float]
    processes: int
    seed: int
    model_config: dict[str, Any]
    train_config: dict[str, Any]


def train(
    folder: str | Path,
    dataset: str | Path,
    preset: Preset,
    *,
    architecture: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    sequences: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    training: TrainConfig | None = None,
    device: Device = "auto",
    resume: bool = False,
    progress: bool = True,
    log: Callable[[Epoch], None] | None = None,
    deadline: float | None = None,
    engine: Engine = "auto",
) -> RunRecord:
    """Train a model on a data set and write the run into `folder`; returns its metrics.json.

    `dataset` is a name of the registry or the path of a table. `architecture` holds options of the
    preset, whose cutoffs may be shares; `reading` those of `load_interactions`; `sequences` those
    of `SequenceData.from_interactions`, except its seed, `split_seed`. Attention gets `max_len`
    positions unless `architecture` says otherwise. The seed of `training` also draws the initial
    weights.

    The folder receives config.json and model.safetensors (the best epoch), items.csv (item,
    original id, training count, and title if known), history.jsonl (one epoch per line),
    metrics.json (`RunRecord`) and finally manifest.json with the SHA-256 of the others. Several
    processes (see `Processes`) train together: the main one writes, all return the record. `log`
    and `deadline` are as for `fit`, `engine` as for `load_sequences`.

    Raises ValueError for a setting, a table or a checkpoint that cannot be used, OSError if the
    data cannot be fetched or the folder cannot be written, and FloatingPointError, MemoryError and
    OutOfTime as `fit` does.
    """
    folder, dataset, training = named_path(folder), str(dataset), training or TrainConfig()
    processes = Processes()
    chosen = processes.device(choose_device(device))
    check_choice("preset", preset, PRESETS)
    with processes.holding(folder):
        processes.on_main(lambda: _refuse_to_overwrite(folder, resume, training.shard))
        with processes.main_first():
            source = load_sequences(
                dataset, seed=split_seed, engine=engine, reading=reading, **(sequences or {})
            )
        data = source.data
        positions = {"max_positions": data.max_len} if preset == "sasrec" else {}
        config = build_config(preset, data.n_items, {**positions, **(architecture or {})})
        items = _items(data.catalogue, dataset)
        require_memory(fixed_bytes(config) // (processes.count if training.shard else 1), chosen)
        if progress and processes.main:
            announce(config, training, data.max_len, processes.count, chosen)
        model = SequentialRecommender(config, training.seed).to(chosen)
        history = fit(model, data, training, folder, resume, progress, deadline, log)
        record: RunRecord = {
            "dataset": dataset,
            "reading": dict(reading or {}),
            "model": preset,
            "parameters": count_parameters(config).total,
            "valid": history.best.valid,
            "test": evaluate_together(processes, model, data, "test").metrics(),
            **history.describe(),
            **describe_sequences(data),
            **source.record,
            **describe_machine(chosen),
            "processes": processes.count,
            "seed": training.seed,
            "model_config": asdict(config),
            "train_config": asdict(training),
        }
        return processes.on_main(lambda: write_run(folder, model, items, history, record))


def write_run(
    folder: Path,
    model: SequentialRecommender,
    items: pd.DataFrame,
    history: History,
    record: RunRecord,
) -> RunRecord:
    """Write the files of a run and their manifest. Raises OSError if they cannot be written."""
    model.save(folder)
    # Quoted, because a title may hold any character, even a line end.
    write_text(folder / ITEMS, items.to_csv(quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"))
    lines = [json.dumps(asdict(epoch)) + "\n" for epoch in history.epochs]
    write_text(folder / HISTORY, "".join(lines))
    write_text(folder / METRICS, json.dumps(record, indent=2) + "\n")
    manifest = {"sha256": {name: file_hash(folder / name) for name in FILES}}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return record


def _check_files(folder: Path) -> None:
    """Raise unless the folder has all files, with the hashes in its manifest."""
    check_no_export(folder, "name the run, the folder that `cprec train` or `cprec compress` wrote")
    for name in (*FILES, MANIFEST):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} holds no finished run: {name} is missing. Train one with "
                f"`cprec train --out {folder}`; if it was interrupted, {RESUME}."
            )
    try:
        hashes = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder / MANIFEST} is not a manifest ({error!r}); {RESUME}") from error
    for name in FILES:
        if file_hash(folder / name) != hashes.get(name):
            raise ValueError(
                f"{folder / name} is not the file that {MANIFEST} lists: it was changed, or "
                f"writing the run was interrupted; {RESUME}"
            )


def build_config(preset: Preset, n_items: int, options: Mapping[str, Any]) -> ModelConfig:
    """The preset's configuration with `options`, whose cutoffs may be counts or shares.

    Raises ValueError for an unknown preset, and as the preset does.
    """
    check_choice("preset", preset, PRESETS)
    return PRESETS[preset](n_items, **options)


@dataclass(frozen=True)
class Run:
    """A trained model with its catalogue and its record, read from a folder.

    `items` has the index 1..N and the columns original (the id in the data set, as text), count
    and, if the data set has titles, title.
    """

    folder: Path
    model: SequentialRecommender
    items: pd.DataFrame
    record: RunRecord

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Read what `train` wrote.

        Raises FileNotFoundError for a missing file, and ValueError for one that is corrupt or does
        not belong to the others.
        """
        folder = named_path(folder)
        _check_files(folder)
        model = SequentialRecommender.load(folder)
        items = _read_items(folder / ITEMS, model.config.n_items)
        return cls(folder, model, items, _read_record(folder / METRICS))

    @property
    def names(self) -> pd.Series:
        """The titles of the items 1..N, or their original ids if the data set has no titles."""
        return self.items["title" if "title" in self.items else "original"]

    def find(self, queries: Sequence[str]) -> list[int]:
        """Items 1..N by title, or by original id if the data set has no titles.

        Raises ValueError for an unknown one, naming the nearest.
        """
        if "title" in self.items:
            return [int(find_item(self.names, query)) for query in queries]
        try:
            return Catalogue(*self.items[["original", "count"]].to_numpy().T).ids(queries)
        except ValueError as error:
            raise ValueError(f"{error}. The model has no titles: give ids of its log") from error

    def data(
        self, dataset: str | None = None, reading: Mapping[str, Any] | None = None
    ) -> SequenceData:
        """The run's data, read, split and cut as for its training.

        `dataset` names another one, `reading` the arguments of `load_interactions` for it. A
        recorded relative path is looked for here, then from the run's folder and those above it.
        Warns if the rows are not those of the training. Raises ValueError if the catalogue is not
        the model's, or if the data is not found.
        """
        record = self.record
        source = dataset or _find_data(record["dataset"], self.folder)
        cut = record["max_len"], record["split"], record["split_seed"]
        log = load_sequences(source, *cut, reading=reading or record["reading"])
        theirs = log.data.catalogue.items.astype(str)
        if not np.array_equal(theirs, self.items["original"].to_numpy(dtype=str)):
            raise ValueError(
                f"the catalogue of {source!r} ({len(theirs):,} items) is not the model's "
                f"({len(self.items):,} items): both must list the same items in the same order of "
                f"popularity. Evaluate on the training's data, {record['dataset']!r}, or train anew"
            )
        if record.get("data_sha256") not in (None, log.record["data_sha256"]):
            warnings.warn(
                f"the data of {source!r} is not that of the training: it has changed, or it is "
                "another data set with the same catalogue",
                stacklevel=2,
            )
        return log.data


def _find_data(dataset: str, folder: Path) -> str:
    """Where the data of a run is now: its name, or its path, seen from here or from the run."""
    if dataset in DATASETS or dataset.startswith(PREFIX) or Path(dataset).exists():
        return dataset
    for above in (folder, *folder.absolute().parents):
        if (above / dataset).exists():
            return str(above / dataset)
    raise FileNotFoundError(
        f"the data of the training, {dataset}, is neither here nor in a folder above {folder}; "
        "name it by --dataset (dataset=...)"
    )


def _refuse_to_overwrite(folder: Path, resume: bool, shard: bool) -> None:
    check_no_export(folder)
    whole, split = folder / CHECKPOINT, newest(folder / CHECKPOINT)
    found = [p for p in (whole, split, folder / WEIGHTS, folder / METRICS) if p and p.exists()]
    if found and not (resume and (split if shard else whole) in found):
        advice = "It lacks its checkpoint, so" if resume else "Go on by --resume (resume=True), or"
        raise ValueError(f"{folder} already holds a run. {advice} choose another folder.")


def _items(catalogue: Catalogue, dataset: str) -> pd.DataFrame:
    numbers = pd.RangeIndex(1, catalogue.n_items + 1, name="item")
    originals = catalogue.items.astype(str)
    items = pd.DataFrame({"original": originals, "count": catalogue.counts}, index=numbers)
    if dataset in DATASETS:
        titles = load_titles(dataset).reindex(catalogue.items)
        items["title"] = np.where(titles.isna(), originals, titles)
    return items


def _read_items(path: Path, n_items: int) -> pd.DataFrame:
    text = {"original": str, "title": str}
    try:
        items = pd.read_csv(path, dtype=text, keep_default_na=False, index_col="item")
    except ValueError as error:
        raise ValueError(f"{path} is not a table of items ({error}); train again") from error
    if list(items.index) != list(range(1, n_items + 1)) or not {"original", "count"} <= {*items}:
        raise ValueError(
            f"{path} does not list the items 1..{n_items} of the model beside it with their "
            "original ids and counts; train the run again"
        )
    return items


def _read_record(path: Path) -> RunRecord:
    """Read metrics.json and check the entries that the library uses."""
    needed: dict[str, type] = {"dataset": str, "reading": dict, "model": str, "max_len": int}
    needed |= {"train_config": dict, "split": str, "split_seed": int}
    try:
        record: RunRecord = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in needed.items():
            if type(value := {**record}[name]) is not kind:
                raise TypeError(f"{name} is {value!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a metrics file: {error!r}; {RESUME}") from error
    return record
