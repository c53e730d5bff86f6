"""The rules of evidence, as functions: `docs/evidence.md` states them. Needs no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

MARGIN = 0.02
"""A model is as good as another if it loses less than this share of the other's accuracy."""
CONFIDENCE = 0.95
Judgement = Literal["as good", "worse", "undecided"]
Tables = Mapping[str, np.ndarray]
"""A metric of every variant of a setting: one value [S, U] a seed and a user, the same users."""


# ---- Rule 1: the difference of two variants ----


@dataclass(frozen=True)
class Difference:
    """The difference of two variants' means, with its standard error.

    `of_users` and `of_seeds` are the two parts of the error's square, `freedom` the degrees of
    freedom of Student's t, `baseline` the mean of the variant that was subtracted.
    """

    estimate: float
    baseline: float
    of_users: float
    of_seeds: float
    freedom: float

    @property
    def error(self) -> float:
        """Standard error."""
        return math.sqrt(self.of_users + self.of_seeds)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Confidence interval, by Student's t."""
        reach = student_quantile((1 + confidence) / 2, self.freedom) * self.error
        return self.estimate - reach, self.estimate + reach

    def chance_above(self, value: float) -> float:
        """One-sided p-value of the hypothesis that the true difference is `value` or less."""
        if self.error == 0:
            return 1.0 if self.estimate <= value else 0.0
        return 1 - student_cdf((self.estimate - value) / self.error, self.freedom)

    def chance_below(self, value: float) -> float:
        """One-sided p-value of the hypothesis that the true difference is `value` or more."""
        return 1.0 if self.error == 0 and self.estimate >= value else 1 - self.chance_above(value)


def difference(tables: Tables, variant: str, baseline: str) -> Difference:
    """Mean of a variant minus that of the baseline: users paired and crossed with seeds.

    The value of a seed s and a user u of one variant is taken to be the variant's mean, plus an
    effect of the user, plus one of the seed, plus a rest. With D_u the difference of the two means
    over seeds, the error's square is

        var(D_u) / U  +  (1 / S + 1 / S') (v - e / U)

    S and S' are the numbers of seeds of the two. v is the variance between the means of seeds, and
    e that of the rest; both are pooled over all variants of `tables` with two seeds or more. The
    rest is part of var(D_u) as well as of v, and is taken off once. Degrees of freedom are
    Satterthwaite's (1946). Raises ValueError if users differ or are below two, or if no variant has
    two seeds.
    """
    a, b = tables[variant], tables[baseline]
    n_users = a.shape[1]
    if n_users < 2 or any(table.shape[1] != n_users for table in tables.values()):
        raise ValueError(
            "paired users: every variant needs a value for each of the same two users or more"
        )
    repeated = [table for table in tables.values() if len(table) > 1]
    if not repeated:
        raise ValueError("no variant has two seeds, so the spread between seeds is not known")
    freedom = sum(len(table) - 1 for table in repeated)
    between = sum(float(table.mean(1).var(ddof=1)) * (len(table) - 1) for table in repeated)
    rest = sum(_rest(table) for table in repeated) / (freedom * (n_users - 1))
    per_seed = 1 / len(a) + 1 / len(b)
    users = float((a.mean(0) - b.mean(0)).var(ddof=1)) / n_users
    seeds, twice = per_seed * between / freedom, per_seed * rest / n_users
    # What both count is taken off the users' part, which is known far better.
    own = max(users - twice, 0.0)
    uncertain = users**2 / (n_users - 1) + seeds**2 / freedom
    return Difference(
        estimate=float(a.mean() - b.mean()),
        baseline=float(b.mean()),
        of_users=own,
        of_seeds=seeds,
        freedom=max((own + seeds) ** 2 / uncertain, 1.0) if uncertain else math.inf,
    )


def _rest(table: np.ndarray) -> float:
    """Sum of the squares of what neither the user nor the seed explains, table [S, U]."""
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    return float((rest**2).sum())


# ---- Rule 2: as good, worse, or undecided ----


def judge(found: Difference, margin: float = MARGIN) -> Judgement:
    """As good if the interval lies above -`margin` of the baseline; worse if below zero, and not
    as good; else undecided."""
    low, high = found.interval()
    if low > -margin * found.baseline:
        return "as good"
    return "worse" if high < 0 else "undecided"


@dataclass(frozen=True)
class Needed:
    """How many times the seeds, or the users, would decide; None where no number of them would."""

    seeds: float | None
    users: float | None


def needed(found: Difference, margin: float = MARGIN) -> Needed:
    """What would decide an undecided difference if its estimate and its spread stayed as they are.

    Seeds with the same users, or users with the same seeds; of "as good" and "worse" the one that
    needs less. With more seeds Student's t needs a little less than this says.
    """
    reach = max(found.estimate + margin * found.baseline, -found.estimate)
    allowed = (reach / student_quantile((1 + CONFIDENCE) / 2, found.freedom)) ** 2

    def times(own: float, other: float) -> float | None:
        return max(own / (allowed - other), 1.0) if reach > 0 and allowed > other else None

    return Needed(times(found.of_seeds, found.of_users), times(found.of_users, found.of_seeds))


# ---- Rule 3: many settings, two logs ----


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values, adjusted for their number so that all may be compared with one level (Holm, 1979).

    The smallest is multiplied by their number n, the next one by n - 1, and so on; none ends below
    one that was smaller.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def judge_together(found: Sequence[Difference], margin: float = MARGIN) -> list[Judgement]:
    """Judge the settings of a claim, corrected for their number; one alone is judged as by `judge`.

    "As good" and "worse" are two families of one-sided tests, each corrected by `holm` at half of
    what `CONFIDENCE` leaves. So all judgements are right together with that confidence at least.
    """
    level = (1 - CONFIDENCE) / 2
    good = holm([each.chance_above(-margin * each.baseline) for each in found])
    bad = holm([each.chance_below(0.0) for each in found])
    return [
        "as good" if g < level else "worse" if w < level else "undecided"
        for g, w in zip(good, bad, strict=True)
    ]


def verdict(judged: Iterable[tuple[str, Judgement]]) -> str:
    """What judgements on logs, (log, judgement) a setting, say of a claim to be as good.

    A log decides if one of its settings is decided and no other one the other way. The claim
    "holds" or "does not hold" if two logs or more decide, and all the same way. Else it "holds on"
    and "fails on" the logs that decide; without any it is "open".
    """
    by_log: dict[str, set[Judgement]] = {}
    for log, judgement in judged:
        by_log.setdefault(log, set()).add(judgement)
    good = [log for log, found in by_log.items() if "as good" in found and "worse" not in found]
    bad = [log for log, found in by_log.items() if "worse" in found and "as good" not in found]
    if len(good) > 1 and not bad:
        return "holds"
    if len(bad) > 1 and not good:
        return "does not hold"
    parts = [
        f"{word} on {' and '.join(logs)}"
        for word, logs in (("holds", good), ("fails", bad))
        if logs
    ]
    return ", ".join(parts) or "open"


# ---- Student's t ----

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def student_cdf(t: float, freedom: float) -> float:
    """P(T <= t) of Student's t, for 1 or more degrees of freedom, to about ten digits.

    With t = sqrt(freedom) tan(x) the density becomes a power of cos(x), integrated by Gauss and
    Legendre's rule. Beyond 10,000 degrees of freedom it is the normal distribution.
    """
    if freedom > 10_000:
        return statistics.NormalDist().cdf(t)
    end = math.atan(abs(t) / math.sqrt(freedom))
    inside = 0.5 * end * float(_WEIGHTS @ np.cos(0.5 * end * (_NODES + 1)) ** (freedom - 1))
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return 0.5 + math.copysign(min(scale * inside, 0.5), t)


def student_quantile(probability: float, freedom: float) -> float:
    """The t that a share of `probability`, 0.5 or more, lies below. Raises ValueError outside."""
    if not 0.5 <= probability < 1:
        raise ValueError(f"probability {probability} is not in [0.5, 1)")
    t = statistics.NormalDist().inv_cdf(probability)
    if freedom > 10_000:
        return t
    # From the left Newton's steps rise to the root, since the distribution is concave there.
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)
    for _ in range(100):
        density = scale * (1 + t * t / freedom) ** (-(freedom + 1) / 2)
        step = (probability - student_cdf(t, freedom)) / density
        t += step
        if abs(step) < 1e-10 * max(1.0, t):
            break
    return t


# ---- Times ----


def speed_up(times: Mapping[str, Sequence[float]], name: str, baseline: str) -> tuple[float, ...]:
    """How many times faster a model is than the baseline: median, lowest and highest round."""
    ratios = [b / a for a, b in zip(times[name], times[baseline], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
