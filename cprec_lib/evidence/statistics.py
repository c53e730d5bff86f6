"""The rules of evidence that `docs/evidence.md` states, as functions. Needs no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

MARGIN = 0.02
"""A model is as good as another if it loses less than this share of the other's accuracy."""
CONFIDENCE = 0.95
Tables = Mapping[str, np.ndarray]
"""A metric of every variant of a setting, by seed and user [S, U]; all have the same users."""


# ---- Rule 1: the difference between two variants ----


@dataclass(frozen=True)
class Difference:
    """The difference between two variants' means, with its standard error.

    Three parts add up to the squared error: more users reduce `of_users`, more seeds reduce
    `of_seeds`, and both reduce `of_both`, which neither user nor seed explains. `freedom` is the
    number of degrees of freedom of Student's t, and `baseline` is the mean of the variant that was
    subtracted.
    """

    estimate: float
    baseline: float
    of_users: float
    of_seeds: float
    freedom: float
    of_both: float = 0.0

    @property
    def error(self) -> float:
        """Standard error."""
        return math.sqrt(self.of_users + self.of_seeds + self.of_both)

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
    """Mean of a variant minus that of the baseline, with paired users crossed with seeds.

    The model: the value for a seed s and a user u of one variant is the variant's mean, plus an
    effect of the user, plus an effect of the seed, plus a residual. Let D_u be the difference
    between the two variants' means over seeds for user u. Then the squared error is

        var(D_u) / U  +  (1 / S + 1 / S') (v - e / U)

    S and S' are the variants' numbers of seeds. v is the variance between the means of seeds, and e
    is the variance of the residual; both are pooled over all variants in `tables` with two or more
    seeds. The residual contributes both to var(D_u) and to v, so it is subtracted once; a users'
    part that becomes negative is set to zero. The degrees of freedom are Satterthwaite's (1946).
    Raises ValueError if the users differ, if there are fewer than two, or if no variant has two
    seeds.
    """
    a, b = tables[variant], tables[baseline]
    n_users = a.shape[1]
    if n_users < 2 or any(table.shape[1] != n_users for table in tables.values()):
        raise ValueError(
            "users cannot be paired: every variant needs values for the same users, two or more"
        )
    repeated = [table for table in tables.values() if len(table) > 1]
    if not repeated:
        raise ValueError("no variant has two seeds, so the variance between seeds is unknown")
    freedom = sum(len(table) - 1 for table in repeated)
    between = sum(float(table.mean(1).var(ddof=1)) * (len(table) - 1) for table in repeated)
    rest = sum(_rest(table) for table in repeated) / (freedom * (n_users - 1))
    per_seed = 1 / len(a) + 1 / len(b)
    users = float((a.mean(0) - b.mean(0)).var(ddof=1)) / n_users
    seeds, twice = per_seed * between / freedom, per_seed * rest / n_users
    # The residual is subtracted from the users' part, which is known far more precisely.
    own, both = max(users - twice, 0.0), min(twice, seeds)
    uncertain = users**2 / (n_users - 1) + seeds**2 / freedom
    return Difference(
        estimate=float(a.mean() - b.mean()),
        baseline=float(b.mean()),
        of_users=own,
        of_seeds=seeds - both,
        freedom=max((own + seeds) ** 2 / uncertain, 1.0) if uncertain else math.inf,
        of_both=both,
    )


def difference_over_users(tables: Tables, variant: str, baseline: str) -> Difference:
    """Like `difference`, but with the error of the users alone, for variants of one seed.

    The interval claims too much, because another seed would give another difference.
    """
    gaps = tables[variant].mean(0) - tables[baseline].mean(0)
    return Difference(
        estimate=float(gaps.mean()),
        baseline=float(tables[baseline].mean()),
        of_users=float(gaps.var(ddof=1)) / len(gaps),
        of_seeds=0.0,
        freedom=len(gaps) - 1,
    )


def _rest(table: np.ndarray) -> float:
    """Sum of squared residuals, which neither user nor seed explains, of a table [S, U]."""
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    return float((rest**2).sum())


# ---- Rule 2: as good, worse, or undecided ----


@dataclass(frozen=True)
class Question:
    """What is asked of a difference, and the words for its two answers.

    The answer is `yes` if the whole interval lies above `above` times the baseline's accuracy, `no`
    if it lies below `below` times that accuracy, and "undecided" otherwise.
    """

    above: float
    below: float
    yes: str
    no: str

    def at(self, margin: float) -> Question:
        """The same question with another margin; one whose bounds are equal has no margin."""
        if self.above == self.below:
            return self
        above = -margin if self.above < 0 else self.above
        return replace(self, above=above, below=margin if self.below > 0 else self.below)


AS_GOOD = Question(-MARGIN, 0.0, "as good", "worse")
"""Does a variant lose less than the margin?"""
BETTER = Question(0.0, MARGIN, "better", "not better")
UNDECIDED = "undecided"


def judge(found: Difference, question: Question = AS_GOOD) -> str:
    """The answer to a question; `yes` if the interval allows both answers."""
    low, high = found.interval()
    if low > question.above * found.baseline:
        return question.yes
    return question.no if high < question.below * found.baseline else UNDECIDED


@dataclass(frozen=True)
class Needed:
    """How many times as many seeds, or users, would decide; None if no number of them would."""

    seeds: float | None
    users: float | None


def needed(found: Difference, question: Question = AS_GOOD, tests: int = 1) -> Needed:
    """What would decide an undecided difference if its estimate and variances stayed the same.

    Gives the number of seeds with the same users, and the number of users with the same seeds, for
    the answer that is easier to reach. `tests` is the number of differences that are judged
    together; the level is divided by it, as for the first of them in `holm`. The number of seeds is
    a little too high, because more seeds also narrow Student's t.
    """
    share = found.estimate / found.baseline
    reach = max(share - question.above, question.below - share) * found.baseline
    allowed = (reach / student_quantile(1 - (1 - CONFIDENCE) / 2 / tests, found.freedom)) ** 2

    def times(stays: float) -> float | None:
        shrinks = found.error**2 - stays
        return max(shrinks / (allowed - stays), 1.0) if reach > 0 and allowed > stays else None

    return Needed(seeds=times(found.of_users), users=times(found.of_seeds))


# ---- Rule 3: many settings, two logs ----


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, so that all may be compared with one level (Holm, 1979).

    The smallest is multiplied by their number n, the next by n - 1, and so on. The adjusted values
    keep the order of the p-values.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def judge_together(
    found: Sequence[Difference], question: Question | Sequence[Question] = AS_GOOD
) -> list[str]:
    """Answer the questions of a claim together, corrected for their number; one alone as `judge`.

    `question` is that of every difference, or has one for each. The two answers are two families
    of one-sided tests. `holm` corrects each at the level (1 - CONFIDENCE) / 2. So all answers are
    right at once with at least that confidence.
    """
    level = (1 - CONFIDENCE) / 2
    asked = [question] * len(found) if isinstance(question, Question) else question
    both = [*zip(found, asked, strict=True)]
    above = holm([each.chance_above(one.above * each.baseline) for each, one in both])
    below = holm([each.chance_below(one.below * each.baseline) for each, one in both])
    return [
        one.yes if high < level else one.no if low < level else UNDECIDED
        for one, high, low in zip(asked, above, below, strict=True)
    ]


def verdict(judged: Iterable[tuple[str, bool | None]]) -> str:
    """The verdict on a claim, from a pair per setting: its log, and if it supports the claim.

    None stands for undecided. A log decides if at least one of its settings is
    decided and none is decided the other way. The claim "holds" or "does not hold" if two or more
    logs decide and all agree. Otherwise it "holds on" and "fails on" the logs that decide. If no
    log decides, it is "open".
    """
    by_log: dict[str, set[bool | None]] = {}
    for log, supports in judged:
        by_log.setdefault(log, set()).add(supports)
    good = [log for log, found in by_log.items() if True in found and False not in found]
    bad = [log for log, found in by_log.items() if False in found and True not in found]
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

    Substituting t = sqrt(freedom) tan(x) turns the density into a power of cos(x), which is
    integrated by Gauss-Legendre quadrature. Above 10,000 degrees of freedom the normal distribution
    is used.
    """
    if freedom > 10_000:
        return statistics.NormalDist().cdf(t)
    end = math.atan(abs(t) / math.sqrt(freedom))
    inside = 0.5 * end * float(_WEIGHTS @ np.cos(0.5 * end * (_NODES + 1)) ** (freedom - 1))
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return 0.5 + math.copysign(min(scale * inside, 0.5), t)


def student_quantile(probability: float, freedom: float) -> float:
    """The t with P(T <= t) = `probability`. Raises ValueError unless it is in [0.5, 1)."""
    if not 0.5 <= probability < 1:
        raise ValueError(f"probability {probability} is not in [0.5, 1)")
    t = statistics.NormalDist().inv_cdf(probability)
    if freedom > 10_000:
        return t
    # From the left, Newton's steps rise to the root, because the distribution is concave there.
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


SLOWEST = 50.0
"""Milliseconds that nine of ten answers of a server may take."""


def carried(loads: Iterable[Mapping[str, Any]], limit: float = SLOWEST) -> float:
    """The largest rate, in requests a second, that a server carried; 0 if none.

    It carries a rate that it reached to 95 %, without errors, with a p90 of at most `limit` ms.
    """
    fine = (
        load["asked"]
        for load in loads
        if load["p90"] <= limit and not load["errors"] and load["reached"] >= 0.95 * load["asked"]
    )
    return max(fine, default=0)
