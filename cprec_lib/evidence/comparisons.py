"""Comparisons: what the recorded runs say of two variants, by the rules of docs/evidence.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from cprec_lib.evidence.records import (
    Record,
    read_all,
    scores_by_trial,
    tables,
    trial_of,
    tuned,
)
from cprec_lib.evidence.settings import TUNED
from cprec_lib.evidence.statistics import (
    AS_GOOD,
    MARGIN,
    Difference,
    Question,
    difference,
    difference_over_users,
    judge_together,
    needed,
)
from cprec_lib.evidence.variants import VARIANTS
from cprec_lib.logs.synthetic import PREFIX, Synthetic

OTHER_MARGINS = (0.01, 0.05)
"""Margins with which every comparison is judged once more, to show what the choice decides."""
DROPOUT_RANGE = (0.0, 0.9)
"""The least and the largest dropout that make sense; a best dropout there is not at an edge."""


@dataclass(frozen=True)
class Recorded:
    """The recorded runs of one setting, by the variants' keys.

    `folder` is the name of the folder. `trials` are all runs of a variant, `runs` those of its best
    trial, one per seed.
    """

    folder: str
    trials: Mapping[str, Sequence[Record]]
    runs: Mapping[str, Sequence[Record]]

    @classmethod
    def read(cls, folder: Path) -> Recorded:
        """Read a folder. Raises ValueError as `read_all` and `tuned` do, or for unknown keys."""
        every = read_all(folder)
        if unknown := sorted({*every} - {*VARIANTS}):
            raise ValueError(
                f"{folder} holds runs of {', '.join(unknown)}, which this version of the library "
                "does not know; move them to another folder"
            )
        return cls(folder.name, every, {key: tuned(runs) for key, runs in every.items()})

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """NDCG@10 of every variant, by seed and user [S, U]."""
        return tables(self.runs)

    @property
    def any_run(self) -> Record:
        """A run; all have the same data."""
        return next(iter(self.runs.values()))[0]

    @property
    def synthetic(self) -> Synthetic | None:
        """The made-up log of this setting; None for a real log."""
        dataset = TUNED[self.folder].dataset if self.folder in TUNED else ""
        return Synthetic.parse(dataset) if dataset.startswith(PREFIX) else None

    @property
    def outside_head(self) -> float:
        """Share of the test users whose next item is not among the most popular tenth."""
        users = [part["users"] for part in self.any_run["test_by_popularity"]]
        return sum(users[1:]) / sum(users)

    @property
    def initial_weights(self) -> str:
        """Whose initial weights the models have, "scaled" (ours) or "authors"."""
        configs = (runs[0]["model_config"] or {} for runs in self.runs.values())
        named = (config["initial_weights"] for config in configs if "initial_weights" in config)
        return str(next(named, "scaled"))

    def has(self, *keys: str) -> bool:
        """Whether all these variants are recorded."""
        return {*keys} <= {*self.runs}

    def width(self, key: str) -> int:
        """A variant's width; 0 for a variant that is not trained."""
        config = self.runs[key][0]["model_config"]
        return int(config["width"]) if config else 0

    def mean(self, key: str) -> float:
        """Test NDCG@10, averaged over the seeds."""
        return float(np.mean([run["test"]["ndcg@10"] for run in self.runs[key]]))

    def times_smaller(self, key: str, other: str) -> float:
        """How many times fewer parameters the first variant has than the other."""
        return self.runs[other][0]["parameters"] / self.runs[key][0]["parameters"]

    def joined(self, other: Recorded, renamed: Mapping[str, str]) -> Recorded:
        """These runs with some of another setting of the same log, under new keys."""
        trials = {new: other.trials[old] for old, new in renamed.items()}
        runs = {new: other.runs[old] for old, new in renamed.items()}
        return Recorded(self.folder, {**self.trials, **trials}, {**self.runs, **runs})

    def untuned(self, key: str) -> str | None:
        """Why a variant's runs do not follow the rule of tuning; None if they do."""
        best = trial_of(self.runs[key][0])
        if best is None:
            return None  # not trained
        tried = scores_by_trial(self.trials[key])
        if self.folder in TUNED and TUNED[self.folder].next_run(tried):
            return "the tuning is not complete"
        (rate, dropout), (rates, dropouts) = best, ({*own} for own in zip(*tried, strict=True))
        if not min(rates) < rate < max(rates):
            return "the best learning rate is at the edge of those tried"
        if not min(dropouts) < dropout < max(dropouts) and dropout not in DROPOUT_RANGE:
            return "the best dropout is at the edge of those tried"
        limits = [(run.get("train_config") or {}).get("epochs") for run in self.runs[key]]
        if any(
            run.get("epochs") == limit for run, limit in zip(self.runs[key], limits, strict=True)
        ):
            return "training ended at the largest number of epochs"
        return None


@dataclass(frozen=True)
class Comparison:
    """The difference of two variants of a setting; `flaws` are reasons not to count it."""

    recorded: Recorded
    key: str
    other: str
    difference: Difference
    flaws: tuple[str, ...]

    @classmethod
    def of(cls, recorded: Recorded, key: str, other: str, *flaws: str) -> Comparison:
        """Compare two recorded variants, with users paired and crossed with seeds."""
        found = [*flaws, *filter(None, map(recorded.untuned, (key, other)))]
        if any(len(table) > 1 for table in recorded.tables.values()):
            gap = difference(recorded.tables, key, other)
        else:
            gap = difference_over_users(recorded.tables, key, other)
            found.append("no variant of the setting has a second seed")
        return cls(recorded, key, other, gap, tuple(dict.fromkeys(found)))

    @property
    def log(self) -> str:
        """The registry name of the log."""
        return self.recorded.any_run["dataset"]

    @property
    def seeds(self) -> tuple[int, int]:
        """Seeds of the variant and of the other one."""
        return len(self.recorded.runs[self.key]), len(self.recorded.runs[self.other])

    @property
    def users(self) -> int:
        """Users that are tested; a split by user or by time does not test all users of the log."""
        return len(self.recorded.tables[self.key][0])

    def share(self, value: float) -> float:
        """A difference as a share of the other variant's NDCG@10."""
        return value / self.difference.baseline


@dataclass(frozen=True)
class Finding:
    """A comparison with its answer; `supports` says whether the answer supports the claim.

    `together` is the number of comparisons that were judged together, and `others` are the answers
    with the margins `OTHER_MARGINS`.
    """

    comparison: Comparison
    question: Question
    answer: str
    supports: bool | None
    together: int = 1
    others: Mapping[float, str] = field(default_factory=dict)

    def decided_by(self) -> str:
        """What would decide an undecided comparison, in words."""
        more = needed(self.comparison.difference, self.question, self.together)
        seeds = self.comparison.seeds
        if more.seeds is not None:
            enough = int(np.ceil(more.seeds * max(seeds)))
            return f"about {enough} seeds of each variant{self._command(enough)}"
        if more.users is not None:
            return f"about {more.users:.1f} times as many users, so another log, not more seeds"
        return "both more users and more seeds, so another log"

    def _command(self, seeds: int) -> str:
        """The command that records so many seeds, in brackets; empty for settings without name."""
        one = self.comparison
        if one.recorded.folder not in TUNED:
            return ""
        models = f"--model {one.key} --model {one.other}"
        where = f"--setting {one.recorded.folder} --seeds {seeds}"
        return f" (`cprec reproduce {models} {where}`)"


@dataclass(frozen=True)
class Asked:
    """A question about several comparisons, and the answer that supports the claim.

    Without `supporting` it is the question's `yes`.
    """

    comparisons: Sequence[Comparison]
    question: Question = AS_GOOD
    supporting: str | None = None

    def supports(self, answer: str) -> bool | None:
        """Whether an answer supports the claim; None if it decides nothing."""
        decided = answer in (self.question.yes, self.question.no)
        return answer == (self.supporting or self.question.yes) if decided else None


def find(*asked: Asked) -> list[list[Finding]]:
    """Answer the questions of a claim, corrected for the number of all their comparisons.

    Returns the findings of each question. A comparison with flaws is "not counted".
    """
    counted = [(each, one.question) for one in asked for each in one.comparisons if not each.flaws]
    gaps = [each.difference for each, _ in counted]
    by_margin = (
        judge_together(gaps, [question.at(margin) for _, question in counted])
        for margin in (MARGIN, *OTHER_MARGINS)
    )
    answers = zip(*by_margin, strict=True)

    def finding(each: Comparison, one: Asked) -> Finding:
        if each.flaws:
            return Finding(each, one.question, "not counted", None)
        answer, *others = next(answers)
        return Finding(
            each,
            one.question,
            answer,
            one.supports(answer),
            len(counted),
            dict(zip(OTHER_MARGINS, others, strict=True)),
        )

    return [[finding(each, one) for each in one.comparisons] for one in asked]


def together(supports: Sequence[bool | None]) -> bool | None:
    """Whether all parts of a claim are supported: False if one is refuted, None if one is open."""
    return False if False in supports else None if None in supports else True
