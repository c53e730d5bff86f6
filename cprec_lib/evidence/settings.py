"""Settings: what all the runs of a comparison share, and which trials tune a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from cprec_lib.checks import whole_number
from cprec_lib.data.sequences import Split
from cprec_lib.logs.synthetic import PREFIX
from cprec_lib.train.config import TrainConfig

Trial = tuple[float, float]
"""Learning rate and dropout."""
FINALISTS = 3
"""Trials that are repeated with further seeds before the best is chosen."""


@dataclass(frozen=True)
class Setting:
    """What all models of one data set have in common.

    All models are tuned in the same way; see `next_run`. Further seeds repeat the trial with the
    best validation NDCG@10.

    The `learning_rates` are tried first. `dropouts` has one dropout for each of them; if it is
    empty, all rates use `dropout`. `further_rates` are tried if the best rate lies at an edge of
    the grid, and `more_dropouts`, at the best rate, next to the best dropout so far. If
    `tuning_seeds` is above 1, the best `FINALISTS` trials are repeated with further seeds before
    one is chosen. `input_dropout` is the same in each trial. `split_seed` draws what the split
    holds out. `users` is a number of users, drawn with a fixed seed; None keeps all users. Only
    settings with a name have a `dataset`. Raises ValueError for fewer than one seed, if a rate is
    given twice, or if there are `dropouts` but not one for each rate.
    """

    width: Annotated[int, "Width d: components of an item's vector."] = 64
    dropout: Annotated[float, "Share of units to drop in the middle layers."] = 0.3
    cutoffs: Annotated[tuple[float, float], "Ends of the blocks, as shares."] = (0.1, 0.33)
    learning_rates: tuple[float, ...] = (0.003, 0.01)
    dropouts: Annotated[tuple[float, ...], "Dropout for each learning rate."] = ()
    epochs: Annotated[int, "Largest number of epochs."] = 20
    patience: Annotated[int, "Stop after this many epochs without a better NDCG@10."] = 3
    batch_size: Annotated[int, "Windows per training step."] = 32
    max_len: Annotated[int, "Positions that the model sees."] = 50
    split: Annotated[Split, "What is held out."] = "leave_one_out"
    seeds: Annotated[int, "Seeds per model: 0, 1, ..."] = 3
    dilations: Annotated[tuple[int, ...], "Dilation of each residual block."] = (1, 4, 1, 4)
    precision: Annotated[str, "Matrix products: float32 or bfloat16."] = "float32"
    schedule: Annotated[str, "Learning rate over time: constant or linear."] = "constant"
    users: Annotated[int | None, "Number of users to draw; default: all."] = None
    input_dropout: Annotated[float, "Share of each item's vector to drop."] = 0.0
    further_rates: Annotated[tuple[float, ...], "Rates to try if the best lies at an edge."] = ()
    more_dropouts: Annotated[tuple[float, ...], "Dropouts to try at the best rate."] = ()
    initial_weights: Annotated[str, "Initial weights: scaled or authors."] = "scaled"
    split_seed: Annotated[int, "Seed of the split, by user or by time."] = 0
    tuning_seeds: Annotated[int, "Seeds with which the best trials are compared."] = 1
    dataset: str = ""

    def __post_init__(self) -> None:
        whole_number("seeds", self.seeds, least=1)
        whole_number("tuning_seeds", self.tuning_seeds, least=1)
        if len({*self.learning_rates}) < len(self.learning_rates):
            raise ValueError(f"learning rates {self.learning_rates}: give each one once")
        if self.dropouts and len(self.dropouts) != len(self.learning_rates):
            raise ValueError(
                f"learning rates {self.learning_rates} go with the dropouts {self.dropouts}, one "
                "each; give one dropout for all of them"
            )

    @property
    def trials(self) -> dict[float, float]:
        """The dropout that goes with each learning rate."""
        dropouts = self.dropouts or (self.dropout,) * len(self.learning_rates)
        return dict(zip(self.learning_rates, dropouts, strict=True))

    def next_run(self, scores: Mapping[Trial, Mapping[int, float]]) -> tuple[Trial, int] | None:
        """The next run of a model's tuning, as trial and seed, given the scores by trial and seed.

        When `next_trial` has no more to try, each of the best `FINALISTS` trials gets all tuning
        seeds; one seed would let chance choose. Scores are means over the tuning seeds recorded so
        far, so a new mean may call for further trials. None when the tuning is complete.
        """
        tuning = range(self.tuning_seeds)
        means = {
            trial: fmean([score for seed, score in own.items() if seed in tuning])
            for trial, own in scores.items()
            if 0 in own
        }
        if trial := self.next_trial(means):
            return trial, 0
        best = sorted(means, key=means.__getitem__, reverse=True)[:FINALISTS]
        lacking = ((trial, seed) for trial in best for seed in tuning if seed not in scores[trial])
        return next(lacking, None)

    def next_trial(self, scores: Mapping[Trial, float]) -> Trial | None:
        """The learning rate and dropout to try next, given the validation scores so far.

        First the learning rates; then the neighbours of the best rate, until both were tried; then
        in the same way the neighbours of the best dropout at that rate. None when everything was
        tried.
        """
        for trial in self.trials.items():
            if trial not in scores:
                return trial
        at_first = {
            rate: score for (rate, drop), score in scores.items() if drop == self._first(rate)
        }
        best, rate = _climb(at_first, {*self.learning_rates, *self.further_rates})
        if rate is not None:
            return rate, self._first(rate)
        at_best = {drop: score for (rate, drop), score in scores.items() if rate == best}
        _, dropout = _climb(at_best, {self._first(best), *self.more_dropouts})
        return None if dropout is None else (best, dropout)

    def _first(self, rate: float) -> float:
        """The dropout with which a rate is first tried."""
        return self.trials.get(rate, self.dropout)

    def training(self, learning_rate: float, seed: int) -> TrainConfig:
        """How one run is trained."""
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            patience=self.patience,
            seed=seed,
            precision=self.precision,
            schedule=self.schedule,
        )


def _climb(scores: Mapping[float, float], ladder: Collection[float]) -> tuple[float, float | None]:
    """The value with the best score, and a neighbour of it that has no score yet, or None."""
    best, steps = max(scores, key=scores.__getitem__), sorted({*ladder, *scores})
    place = steps.index(best)
    around = steps[max(0, place - 1) : place + 2]
    return best, next((value for value in around if value not in scores), None)


# Short histories and many items; two cores can train a few epochs.
LARGE_CATALOGUE = Setting(
    learning_rates=(0.002, 0.005), epochs=8, patience=2, batch_size=128, max_len=20, seeds=1
)
# Four residual blocks with these dilations see a whole window.
LONG_WINDOWS = Setting(
    width=128,
    learning_rates=(0.003, 0.006),
    dropouts=(0.3, 0.1),
    epochs=12,
    patience=12,
    max_len=100,
    dilations=(1, 4, 16, 1),
    precision="bfloat16",
    schedule="linear",
    seeds=1,
)
# Width 256 is for a GPU; its numbers were chosen in first trials, see results/README.md.
SETTINGS: dict[str, tuple[Setting, ...]] = {
    "ml-100k": (Setting(),),
    "ml-1m": (
        Setting(dropout=0.1, learning_rates=(0.002, 0.006), epochs=12, patience=12, seeds=1),
        LONG_WINDOWS,
        replace(
            LONG_WINDOWS,
            width=256,
            learning_rates=(0.004, 0.006),
            dropouts=(0.5, 0.3),
            input_dropout=0.3,
            epochs=40,
            patience=10,
            batch_size=128,
            seeds=3,
        ),
    ),
    "amazon-beauty": (LARGE_CATALOGUE,),
    "globo": (
        replace(LARGE_CATALOGUE, users=40_000),
        replace(
            LARGE_CATALOGUE,
            width=256,
            learning_rates=(0.003, 0.006),
            batch_size=512,
            epochs=4,
            precision="bfloat16",
            schedule="linear",
            seeds=3,
        ),
    ),
}
"""Settings of the recorded data sets, one for each width; see `setting_of`."""

# Three rates, two more on either side, seven dropouts; training ends by early stopping.
_LADDER: dict[str, Any] = {
    "learning_rates": (0.001, 0.003, 0.01),
    "further_rates": (0.0001, 0.0003, 0.03, 0.1),
    "more_dropouts": (0.0, 0.1, 0.5, 0.7, 0.8, 0.9),
    "epochs": 500,
    "patience": 5,
}
_SMALL = Setting(**_LADDER, seeds=10, tuning_seeds=3)
_WIDE = replace(_SMALL, width=512, precision="bfloat16", seeds=5)
_MANY = replace(_SMALL, batch_size=128, max_len=20, seeds=3)
_FIRST: dict[str, Setting] = {
    "ml-100k-w64": replace(_SMALL, dataset="ml-100k"),
    "ml-100k-w512": replace(_WIDE, dataset="ml-100k"),
    "ml-1m-w64": replace(_SMALL, dataset="ml-1m", seeds=3),
    "ml-1m-w128": replace(_SMALL, dataset="ml-1m", width=128, seeds=3),
    "amazon-beauty-w64": replace(_MANY, dataset="amazon-beauty"),
    "globo-w64": replace(_MANY, dataset="globo", users=40_000),
    # A run of "globo-w64" takes a quarter of an hour on one core; these users take two minutes.
    "globo-w64-u10000": replace(_SMALL, dataset="globo", users=10_000, max_len=20, seeds=3),
}
_BY_TIME = {
    f"{name}-by_time": replace(_FIRST[name], split="by_time", seeds=3)
    for name in ("ml-100k-w64", "globo-w64")
}
_AUTHORS = {
    f"{name}-authors": replace(setting, initial_weights="authors")
    for name, setting in _FIRST.items()
}
# Made-up logs that differ only in the exponent of their popularity curve, chosen such that 5 to
# 70 % of the interactions are with items outside the most popular tenth.
_EXPONENTS = {5: 1.44, 20: 1.11, 35: 0.92, 50: 0.75, 70: 0.49}
_MADE_UP = {
    f"tail-{share}-w{width}": replace(
        _MANY,
        tuning_seeds=1,  # the logs are large enough that seeds differ little
        width=width,
        dataset=f"{PREFIX}items=2000,users=3000,groups=100,zipf={_EXPONENTS[share]}",
    )
    for share, width in [*((share, 64) for share in _EXPONENTS), (35, 16), (35, 32), (35, 128)]
}
TUNED = _FIRST | _AUTHORS | _BY_TIME | _MADE_UP
"""Settings by name, in which trials are added until the best rate lies inside the grid.

Each setting of a real log exists with our initial weights and with those of the authors, and some
with a split by time. The log of a setting such as `tail-5-w64` is made up; 5 % of it lie outside
the head.
"""


def tuned_setting(name: str) -> Setting:
    """The setting with this name in `TUNED`. Raises ValueError, which lists the names."""
    if name not in TUNED:
        raise ValueError(f"unknown setting {name!r}; choose from {', '.join(TUNED)}")
    return TUNED[name]


def setting_of(dataset: str, width: int | None = None) -> Setting:
    """The setting with which a data set is recorded at a width; without a width, its first one.

    A width that is not recorded gets the other values of the first setting. A data set that is not
    recorded gets the defaults of `Setting`.
    """
    known = SETTINGS.get(log_name(dataset), (Setting(),))
    if width is None:
        return known[0]
    return next((s for s in known if s.width == width), replace(known[0], width=width))


def folder_name(dataset: str, setting: Setting) -> str:
    """Name of the folder that holds the results of a data set with one setting.

    The name contains `dropout`, even if the setting has `dropouts`.
    """
    split = "" if setting.split == "leave_one_out" else f"-{setting.split}"
    users = "" if setting.users is None else f"-u{setting.users}"
    return f"{log_name(dataset)}-w{setting.width}-d{setting.dropout:g}{split}{users}"


def log_name(dataset: str) -> str:
    """A data set's name in records and folders.

    This is its name in the registry, or the name of its file without the extension. In the
    description of a synthetic log, hyphens replace the punctuation.
    """
    if dataset.startswith(PREFIX):
        return dataset.translate(str.maketrans(":,=", "---"))
    return Path(dataset).stem
