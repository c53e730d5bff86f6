"""A run is a folder: train a model into one, and read it back with its items and its data."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cprec_lib.data.datasets import DATASETS, find_item, load_interactions, load_titles
from cprec_lib.data.sequences import Catalogue, SequenceData
from cprec_lib.files import write_text
from cprec_lib.machine import Device, choose_device, describe_machine
from cprec_lib.model.config import ModelConfig, cprec, gru4rec, nextitnet, resolve_cutoffs, sasrec
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.checkpoints import CHECKPOINT, Epoch, History
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.data_record import describe_data
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
TENSORBOARD = "tensorboard"


def train(
    folder: str | Path,
    dataset: str | Path,
    preset: Preset,
    *,
    architecture: Mapping[str, Any] | None = None,
    sequences: Mapping[str, Any] | None = None,
    training: TrainConfig | None = None,
    device: Device = "auto",
    resume: bool = False,
    progress: bool = True,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train a model on a data set and write the run into `folder`; returns its metrics.json.

    `dataset` is a name of the registry, or the path of a table; metrics.json takes it as text.
    `architecture` holds options of the preset, whose cutoffs may be shares; `sequences` those of
    `SequenceData.from_interactions`. Attention gets as many positions as the sequences have, unless
    `architecture` says otherwise. The seed of `training` also draws the initial weights and the
    split by user. The folder receives config.json and model.safetensors (the best epoch),
    items.csv (item, original id, training count, title where there is one), history.jsonl (an epoch
    a line) and, last of all, metrics.json. Its `seconds` are those of training, validation left
    out, over all epochs of the run, resumed ones included; its `train_loss` is the best epoch's.
    `tensorboard` also writes the curves of loss, seconds and validation metrics for TensorBoard
    into the folder's subfolder tensorboard.

    Several processes (see `Processes`) train together; the main one writes, all get the metrics.

    Raises ValueError for a setting, a table or a checkpoint that cannot be used, OSError if the
    data cannot be fetched, the folder not be written or TensorBoard not be found, and
    FloatingPointError and MemoryError as `fit` does.
    """
    folder, dataset, training = Path(folder), str(dataset), training or TrainConfig()
    processes = Processes()
    chosen = processes.device(choose_device(device))
    _check_preset(preset)
    if tensorboard and find_spec("tensorboard") is None:
        raise OSError("TensorBoard is not installed; run `pip install tensorboard`")
    with (
        processes.holding(folder),
        _curves(folder / TENSORBOARD, tensorboard and processes.main) as log,
    ):
        processes.on_main(lambda: _refuse_to_overwrite(folder, resume))
        with processes.main_first():
            table = load_interactions(dataset)
        data = SequenceData.from_interactions(table, seed=training.seed, **(sequences or {}))
        positions = {"max_positions": data.max_len} if preset == "sasrec" else {}
        config = build_config(preset, data.n_items, {**positions, **(architecture or {})})
        items = _items(data.catalogue, dataset)
        model = SequentialRecommender(config, training.seed).to(chosen)
        history = fit(model, data, training, folder, resume, progress, log=log)
        metrics = {
            "dataset": dataset,
            "model": preset,
            "parameters": count_parameters(config).total,
            "valid": history.best.valid,
            "test": evaluate_together(processes, model, data, "test").metrics(),
            **history.describe(),
            **describe_data(table, data),
            **describe_machine(chosen),
            "processes": processes.count,
            "seed": training.seed,
            "model_config": asdict(config),
            "train_config": asdict(training),
        }
        return processes.on_main(lambda: _write(folder, model, items, history, metrics))


def _write(
    folder: Path,
    model: SequentialRecommender,
    items: pd.DataFrame,
    history: History,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    model.save(folder)
    _write_table(folder / ITEMS, items)
    lines = [json.dumps(asdict(epoch)) + "\n" for epoch in history.epochs]
    write_text(folder / HISTORY, "".join(lines))
    write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
    return metrics


def build_config(preset: Preset, n_items: int, options: Mapping[str, Any]) -> ModelConfig:
    """The preset's configuration; `options` override its fields, cutoffs as counts or as shares.

    Raises ValueError for an unknown preset, and for options as `ModelConfig` does.
    """
    _check_preset(preset)
    if "cutoffs" in options:
        options = {**options, "cutoffs": resolve_cutoffs(n_items, options["cutoffs"])}
    return PRESETS[preset](n_items, **options)


def _check_preset(preset: str) -> None:
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")


@dataclass(frozen=True)
class Run:
    """A trained model with its catalogue: `items` is indexed by item 1..N, and has the columns
    original (the id in the data set, as text), count and, if the data set has titles, title."""

    folder: Path
    model: SequentialRecommender
    items: pd.DataFrame

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Read what `train` wrote.

        Raises FileNotFoundError if it is not there and ValueError if it is corrupt.
        """
        folder = Path(folder)
        for name in (CONFIG, WEIGHTS, ITEMS):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder} holds no trained model: {name} is missing. Train one with "
                    f"`cprec train --out {folder}`; an interrupted run goes on with --resume."
                )
        model = SequentialRecommender.load(folder)
        return cls(folder, model, _read_items(folder / ITEMS, model.config.n_items))

    @property
    def names(self) -> pd.Series:
        """What to call the items 1..N: their titles, or original ids where there are no titles."""
        return self.items["title" if "title" in self.items else "original"]

    def find(self, queries: Sequence[str]) -> list[int]:
        """Items 1..N by title, or by original id where the data set has no titles.

        Raises ValueError for one that is not there, with the nearest.
        """
        if "title" in self.items:
            return [int(find_item(self.names, query)) for query in queries]
        originals, counts = self.items["original"], self.items["count"]
        return Catalogue(originals.to_numpy(), counts.to_numpy()).ids(queries)

    def data(self, dataset: str | None = None) -> SequenceData:
        """The run's data, split and cut as for its training; `dataset` names another one.

        Raises ValueError if its catalogue is not the model's.
        """
        recipe = _read_recipe(self.folder / METRICS)
        dataset = dataset or recipe["dataset"]
        data = SequenceData.from_interactions(
            load_interactions(dataset), recipe["max_len"], recipe["split"], recipe["seed"]
        )
        theirs = data.catalogue.items.astype(str)
        if not np.array_equal(theirs, self.items["original"].to_numpy(dtype=str)):
            raise ValueError(
                f"the catalogue of {dataset!r} ({len(theirs):,} items) is not the model's "
                f"({len(self.items):,} items): both must list the same items in the same order of "
                f"popularity. Evaluate on the data that the model was trained on, "
                f"{recipe['dataset']!r}, or train anew."
            )
        return data


@contextmanager
def _curves(folder: Path, wanted: bool) -> Iterator[Callable[[Epoch], None] | None]:
    """What `fit` is to call with each epoch, to write it where TensorBoard reads it."""
    if not wanted:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:

        def write(epoch: Epoch) -> None:
            scalars = {"train/loss": epoch.loss, "train/seconds": epoch.seconds}
            scalars |= {f"valid/{name}": value for name, value in epoch.valid.items()}
            for name, value in scalars.items():
                writer.add_scalar(name, value, epoch.epoch)
            writer.flush()

        yield write


def _refuse_to_overwrite(folder: Path, resume: bool) -> None:
    if not resume and any((folder / name).exists() for name in (CHECKPOINT, WEIGHTS, METRICS)):
        raise ValueError(
            f"{folder} already holds a run. Go on with it by --resume (resume=True), or choose "
            "another folder."
        )


def _items(catalogue: Catalogue, dataset: str) -> pd.DataFrame:
    numbers = pd.RangeIndex(1, catalogue.n_items + 1, name="item")
    originals = catalogue.items.astype(str)
    items = pd.DataFrame({"original": originals, "count": catalogue.counts}, index=numbers)
    if dataset in DATASETS:
        titles = load_titles(dataset).reindex(catalogue.items)
        items["title"] = np.where(titles.isna(), originals, titles)
    return items


def _write_table(path: Path, table: pd.DataFrame) -> None:
    # Quoted, a title may hold any character, line ends included.
    text = table.to_csv(quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    write_text(path, text)


def _read_items(path: Path, n_items: int) -> pd.DataFrame:
    text = {"original": str, "title": str}
    try:
        items = pd.read_csv(path, dtype=text, keep_default_na=False, index_col="item")
    except ValueError as error:
        raise ValueError(f"{path} is no table of items ({error}); train the run again") from error
    if list(items.index) != list(range(1, n_items + 1)) or not {"original", "count"} <= {*items}:
        raise ValueError(
            f"{path} does not list the items 1..{n_items} of the model beside it with their "
            "original ids and counts; train the run again"
        )
    return items


def _read_recipe(path: Path) -> dict[str, Any]:
    """The part of metrics.json that says which data the run used and how it was cut."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, so the run is not finished. Repeat its command with --resume."
        )
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        return {name: metrics[name] for name in ("dataset", "max_len", "split", "seed")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no metrics file of this library: {error!r}; repeat its command with "
            "--resume"
        ) from error
