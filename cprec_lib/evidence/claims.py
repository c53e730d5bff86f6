"""The claims of the paper: what the recorded results say about each, and the verdict."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cprec_lib.evidence.bootstrap import Interval, interval
from cprec_lib.evidence.records import (
    Record,
    Times,
    lacking_rates,
    rates,
    read_all,
    read_results,
    read_times,
    record_name,
    trial_of,
    values,
)
from cprec_lib.evidence.statistics import speed_up
from cprec_lib.evidence.timing import EARLY, EXACT, STEP, USERS, Quantity
from cprec_lib.evidence.variants import (
    BASELINE,
    COMPRESSED,
    FLAT,
    GROUPS,
    NARROW,
    OTHER_MIDDLES,
    SHARED,
    TREE,
    VARIANTS,
    label,
)
from cprec_lib.model.config import cprec, nextitnet
from cprec_lib.model.cost import count_parameters

Judgement = Literal["worse", "as good", "not decided"]
MARGIN = 0.05
"""A model is as good as another if the interval rules out a loss larger than this share."""
NARROWEST, WIDEST = 64, 512
"""NextItNet's widths in the paper's first figure."""
DEEPER = (8, 16)
"""Residual blocks of the deeper NextItNets; the paper's NextItNet has four."""
FULL, SMALL, RIVAL = BASELINE.key, COMPRESSED.key, NARROW.key
Verdict = Literal["holds", "holds in part", "does not hold", "open"]


@dataclass(frozen=True)
class Evidence:
    """One measurement: the data, what was compared, what was found, and how it was made."""

    where: str
    what: str
    found: str
    made: str


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, judged."""

    claim: str
    says: str
    verdict: Verdict
    because: str
    evidence: tuple[Evidence, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Recorded:
    """The recorded runs of one folder, by the variants' keys, each at its tuned learning rate."""

    by_variant: dict[str, list[Record]]
    folder: str = ""

    def has(self, *keys: str) -> bool:
        """Whether all these variants are recorded."""
        return {*keys} <= {*self.by_variant}

    def difference(self, key: str, other: str) -> Interval:
        """NDCG@10 of one variant minus another's, paired by user, over the seeds that both have."""
        pairs = zip(self.by_variant[key], self.by_variant[other], strict=False)
        runs, others = zip(*pairs, strict=True)
        return interval(values(runs) - values(others))

    def judge(self, key: str, other: str) -> Judgement:
        """Worse if the interval lies below zero, as good if it rules out a loss above MARGIN."""
        gap = self.difference(key, other)
        if gap.high < 0:
            return "worse"
        return "as good" if gap.low > -MARGIN * self.mean(other) else "not decided"

    @property
    def dataset(self) -> str:
        """The data set of all the runs, escaped for Markdown."""
        return _escaped(next(iter(self.by_variant.values()))[0]["dataset"])

    def mean(self, key: str, metric: str = "ndcg@10") -> float:
        """A test metric, averaged over the seeds."""
        return float(np.mean([run["test"][metric] for run in self.by_variant[key]]))

    def width(self, key: str) -> int | None:
        """A variant's width; None for a variant that is not trained."""
        config = self.by_variant[key][0]["model_config"]
        return int(config["width"]) if config else None

    def times_smaller(self, key: str, other: str) -> float:
        """How many times fewer parameters the first variant has than the other."""
        return self.by_variant[other][0]["parameters"] / self.by_variant[key][0]["parameters"]

    def compared(self, key: str, other: str, sizes: bool = False) -> Evidence:
        """The paired difference as evidence; with `sizes`, also how many times smaller `key` is."""
        gap = self.difference(key, other)
        share = gap.estimate / self.mean(other)
        found = f"{share:+.0%}: {gap.estimate:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        size = f" ({self.times_smaller(key, other):.1f} times smaller)" if sizes else ""
        what = f"test NDCG@10 of {label(key)}{size} against {label(other)}"
        return self.evidence(what, found, key, other)

    def evidence(self, what: str, found: str, key: str, other: str) -> Evidence:
        """Evidence on two variants, with its seeds, users, devices and records."""
        first = self.by_variant[key][0]
        seeds = min(len(self.by_variant[key]), len(self.by_variant[other]))
        split = ", split by user" if first["split"] == "by_user" else ""
        where = f"{self.dataset}, width {self.width(key) or '-'}{split}"
        plural = "s" if seeds > 1 else ""
        devices = {run["device"] for each in (key, other) for run in self.by_variant[each]}
        made = f"{seeds} seed{plural}, {first['n_users']:,} users, {' and '.join(sorted(devices))}"
        made += f"; `{self.folder}`: `{self._first_record(key)}`, `{self._first_record(other)}`"
        return Evidence(where, what, found, made)

    def _first_record(self, key: str) -> str:
        run = self.by_variant[key][0]
        return record_name(key, trial_of(run), run["seed"])


def judge_claims(results: Path) -> list[Claim]:
    """Judge every claim by the records in `results`.

    Warns about variants that are not judged because they lack a learning rate that other variants
    in their folder have. Raises ValueError if a result file is damaged or names an unknown variant.
    """
    folders = sorted(path for path in (results / "runs").glob("*") if any(path.glob("*.json")))
    recorded = [Recorded(read_results(path), path.name) for path in folders]
    for folder in folders:
        _check_variants(folder)
    timed = [read_times(path) for path in sorted((results / "time").glob("*.json"))]
    return [
        _long_tail(results / "longtail.json"),
        _width(recorded),
        _size(),
        _accuracy(recorded),
        _training_time(timed),
        _inference_time(timed),
        _flat(recorded),
        _sharing(recorded),
        _generic(recorded),
    ]


def _check_variants(folder: Path) -> None:
    """Refuse unknown variants, whose rates would count, and warn of those that lack a rate."""
    by_variant = read_all(folder)
    if unknown := sorted({*by_variant} - {*VARIANTS}):
        raise ValueError(
            f"{folder} holds runs of {', '.join(unknown)}, which this version of the library does "
            "not know; move them to another folder"
        )
    lacking = lacking_rates({key: rates(runs) for key, runs in by_variant.items()})
    if lacking:
        numbers = ", ".join(f"{rate:g}" for rate in sorted(set().union(*lacking.values())))
        warnings.warn(
            f"{folder.name}: these variants are not judged, because each of them lacks one of the "
            f"learning rates {numbers} that other variants have: {', '.join(lacking)}",
            stacklevel=3,
        )


def _escaped(name: str) -> str:
    """The name of a log, which may be anybody's file, for a table of a Markdown page."""
    printable = "".join(mark if mark.isprintable() else "?" for mark in name)
    return re.sub(r"[\\`*_{}\[\]<>#|$~&]", r"\\\g<0>", printable)


def to_markdown(claims: Sequence[Claim]) -> str:
    """The claims as a page: a table of verdicts, then each claim with its evidence."""
    lines = [
        "# Which of the paper's claims hold",
        "",
        "Written by `cprec claims` from `results/`; a test refuses a page that differs from them.",
        "Intervals are 95 % bootstrap intervals over users, paired where two models are compared.",
        "Times come from shared machines; only the ratios within one line can be compared.",
        "A line on accuracy names its folder in `results/runs/` and the records of its first seed.",
        "`cprec reproduce --again results/runs/FOLDER/RECORD.json` repeats one of them and prints",
        "both results; it says what is missing if the data is not on your machine.",
        "",
        "| claim | the paper says | verdict |",
        "|---|---|---|",
        *(f"| [{e.claim}](#{e.claim.lower()}) | {e.says} | **{e.verdict}** |" for e in claims),
    ]
    for claim in claims:
        lines += ["", f"## {claim.claim}", "", f"*{claim.says}*", ""]
        lines.append(f"**{claim.verdict[0].upper()}{claim.verdict[1:]}.** {claim.because}")
        if claim.evidence:
            lines += ["", "| data | compared | measured | from |", "|---|---|---|---|"]
            lines += [f"| {e.where} | {e.what} | {e.found} | {e.made} |" for e in claim.evidence]
        if claim.command:
            lines += ["", f"To repeat: `{claim.command}`"]
    return "\n".join(lines) + "\n"


# ---- One function a claim ----


def _long_tail(path: Path) -> Claim:
    logs = json.loads(path.read_text(encoding="utf-8"))["data_sets"].values()
    tails = {log["title"]: 1 - log["top_shares"]["0.2"] for log in logs}
    evidence = [
        Evidence(
            log["title"],
            "interactions of the least popular 80 % of the items",
            f"{tails[log['title']]:.0%}",
            f"all {log['interactions']:,} interactions",
        )
        for log in logs
    ]
    worst = max(tails.values())
    holds = worst < 0.8 and max(log["median_count"] for log in logs) < 10
    return Claim(
        "C1",
        "Item popularity is long-tailed, so most embedding parameters serve few interactions.",
        "holds" if holds else "holds in part",
        f"Four fifths of the rows serve {min(tails.values()):.0%} to {worst:.0%} of the "
        "interactions: fewer than their share everywhere, but about a third in most logs. Whether "
        "a row sees few interactions depends on the log.",
        tuple(evidence),
        "python -m tools.record_longtail",
    )


def _width(recorded: Sequence[Recorded]) -> Claim:
    """Judge C2 from the recorded widths and depths.

    The claim holds if a larger width gains over 20 % and a larger depth gains at all; with only one
    of these gains it holds in part. One data set can show that a width gains 20 %. Two or more are
    needed to show that the paper's width of 512 does not, because a single one may be too small.
    """
    deeper = [v.key for v in GROUPS["depth"] if v.depth in DEEPER]
    of_width = [(runs, *pair) for runs in recorded for pair in _wider(runs)]
    of_depth = [(runs, key, FULL) for runs in recorded for key in deeper if runs.has(key, FULL)]
    gains = [_gain(*pair) for pair in of_width]
    at_widest = [pair for pair in of_width if (pair[0].width(pair[1]) or 0) >= WIDEST]
    sets = sorted({runs.dataset for runs, _, _ in at_widest})
    depth_helps = any(_gain(*pair).low > 0 for pair in of_depth)
    if any(gain.low > 0.2 for gain in gains):
        verdict: Verdict = "holds" if depth_helps else "holds in part"
    elif len(sets) > 1 and all(_gain(*pair).high < 0.2 for pair in at_widest):
        verdict = "holds in part" if depth_helps else "does not hold"
    else:
        verdict = "open"
    shares = [gain.estimate for gain in gains]
    needed = (
        "; a verdict against the claim needs two data sets, because a single one may be too small "
        "for the width"
    )
    return Claim(
        "C2",
        "Growing NextItNet's width from 64 to 512 gains over 20 % accuracy; depth helps too.",
        verdict,
        f"Comparisons with larger widths: {len(of_width)}, from {min(shares):+.0%} to "
        f"{max(shares):+.0%}. With more residual blocks: {len(of_depth)}; a gain is "
        f"{'seen' if depth_helps else 'not seen'}. Width {WIDEST} is recorded on "
        f"{', '.join(sets) or 'no data set'}{needed if len(sets) < 2 else ''}."
        if of_width
        else "No width above 64 is recorded.",
        tuple(runs.compared(key, base) for runs, key, base in of_width + of_depth),
        "cprec reproduce width depth",
    )


def _wider(runs: Recorded) -> list[tuple[str, str]]:
    """Pairs of a recorded NextItNet wider than the paper's narrowest, and that narrowest one."""
    widths = {v.key: runs.width(v.key) or 0 for v in GROUPS["width"] if runs.has(v.key)}
    narrow = [key for key, width in widths.items() if width == NARROWEST]
    return [(key, narrow[0]) for key, width in widths.items() if narrow and width > NARROWEST]


def _gain(runs: Recorded, key: str, other: str) -> Interval:
    """Gain in NDCG@10 over another variant, as a share of that variant's NDCG@10."""
    gap, base = runs.difference(key, other), runs.mean(other)
    return Interval(gap.estimate / base, gap.low / base, gap.high / base)


def _size() -> Claim:
    cases = (
        ("the authors' cutoffs", (7000, 15_000), "none"),
        ("the authors' cutoffs", (7000, 15_000), "cross-block"),
        ("cut at 5 and 20 %", (0.05, 0.2), "none"),
        ("cut at 5 and 20 %", (0.05, 0.2), "adjacent-block"),
        ("cut at 5 and 20 %", (0.05, 0.2), "cross-block"),
    )
    n_items, width = 26_744, 512
    full = count_parameters(nextitnet(n_items, width)).total
    times = [
        full / count_parameters(cprec(n_items, width, cut, sharing)).total
        for _, cut, sharing in cases
    ]
    evidence = [
        Evidence(
            "26,744 items, width 512",
            f"{name}, sharing {sharing}",
            f"{ratio:.1f} times smaller",
            "closed form",
        )
        for (name, _, sharing), ratio in zip(cases, times, strict=True)
    ]
    return Claim(
        "C3",
        "CpRec is 4 to 8 times smaller than NextItNet.",
        "holds in part",
        "This takes a small head and, where the middle layers are a large part of the model, "
        "sharing. With the cutoffs in the authors' code a model of MovieLens-20M's size is "
        f"{times[0]:.1f} to {times[1]:.1f} times smaller.",
        tuple(evidence),
        "cprec claims",
    )


def _accuracy(recorded: Sequence[Recorded]) -> Claim:
    both = [runs for runs in recorded if runs.has(FULL, SMALL)]
    evidence = [runs.compared(SMALL, FULL) for runs in both]
    evidence += [runs.compared(RIVAL, SMALL) for runs in both if runs.has(RIVAL)]
    judged = [runs.judge(SMALL, FULL) for runs in both]
    sized = [
        (runs, variant)
        for runs in recorded
        for variant in GROUPS["sizes"][1:]
        if runs.has(FULL, variant.key)
    ]
    evidence += [runs.compared(variant.key, FULL, sizes=True) for runs, variant in sized]
    small = [
        runs.judge(variant.key, FULL)
        for runs, variant in [*sized, *((runs, COMPRESSED) for runs in both)]
        if variant.family == "cprec" and runs.times_smaller(variant.key, FULL) >= 4
    ]
    return Claim(
        "C4",
        "In most cases CpRec is at least as accurate as the uncompressed model.",
        _majority(judged),
        f"CpRec is {_tally(judged)}, of {len(judged)} settings. Versions that are at least 4 times "
        f"smaller, with several cuts and widths, are {_tally(small)}. The rival to beat is a "
        "narrower NextItNet of the same size.",
        tuple(evidence),
        "cprec reproduce overall rival sizes",
    )


def _training_time(timed: Sequence[Times]) -> Claim:
    found = [_speed(times, STEP) for times in timed]
    return Claim(
        "C5",
        "CpRec trains faster.",
        _faster([ratio for ratio, _ in found]),
        "The time of a training step of NextItNet divided by that of CpRec, on batches as in "
        "training, with the models in turn. CpRec saves time in the softmax. A GPU computes the "
        "softmax quickly, so there CpRec's larger number of small operations matters more, unless "
        "the catalogue is large.",
        tuple(evidence for _, evidence in found),
        "cprec reproduce time",
    )


def _inference_time(timed: Sequence[Times]) -> Claim:
    found = [
        _speed(times, quantity)
        for times in timed
        for users in USERS
        for quantity in (EXACT[users], EARLY[users])
    ]
    return Claim(
        "C6",
        "CpRec infers faster, and faster still with the early-stopping top-N.",
        _faster([ratio for ratio, _ in found]),
        "Time to find the ten best items for 1 and for 64 users: NextItNet's divided by CpRec's, "
        "with the models in turn. The early-stopping rule is not exact.",
        tuple(evidence for _, evidence in found),
        "cprec reproduce time",
    )


def _flat(recorded: Sequence[Recorded]) -> Claim:
    flat, tree = FLAT.key, TREE.key
    all_three = [runs for runs in recorded if runs.has(FULL, flat, tree)]
    pairs = ((flat, FULL), (tree, FULL), (flat, tree))
    evidence = [runs.compared(*pair) for runs in all_three for pair in pairs]
    of_flat, of_tree = ([runs.judge(key, FULL) for runs in all_three] for key in (flat, tree))
    if "worse" in of_tree:
        verdict: Verdict = "does not hold"
    elif "worse" in of_flat and {*of_tree} == {"as good"}:
        verdict = "holds"
    else:
        verdict = "open"
    return Claim(
        "C7",
        "Flat low-rank logits hurt accuracy; the two-level tree does not.",
        verdict,
        f"Compared with the full softmax, the flat one is {_tally(of_flat)}, and the tree is "
        f"{_tally(of_tree)}. Both have the same cutoffs and widths; everything else is "
        "uncompressed.",
        tuple(evidence),
        "cprec reproduce decomposition",
    )


def _sharing(recorded: Sequence[Recorded]) -> Claim:
    rival, *schemes = (variant.key for variant in SHARED.values())
    shared = [runs for runs in recorded if runs.has(FULL, rival, *schemes)]
    pairs = [(scheme, other) for other in (FULL, rival) for scheme in schemes]
    evidence = [runs.compared(*pair) for runs in shared for pair in pairs]
    kept = [runs.judge(scheme, FULL) for runs in shared for scheme in schemes]
    gaps = [runs.difference(scheme, rival) for runs in shared for scheme in schemes]
    beaten, lost = sum(gap.low > 0 for gap in gaps), sum(gap.high < 0 for gap in gaps)
    if kept and {*kept} == {"as good"} and beaten == len(gaps):
        verdict: Verdict = "holds"
    elif kept and (_majority(kept) == "does not hold" or lost > beaten):
        verdict = "does not hold"
    else:
        verdict = "open"
    return Claim(
        "C8",
        "The three sharing schemes keep accuracy, and beat sharing every layer.",
        verdict,
        f"Compared with no sharing, the three schemes are {_tally(kept)}. Of {len(gaps)} "
        f"comparisons with sharing every layer they win {beaten} and lose {lost}.",
        tuple(evidence),
        "cprec reproduce sharing",
    )


def _generic(recorded: Sequence[Recorded]) -> Claim:
    pairs = [
        (runs, whole.key, compressed.key)
        for runs in recorded
        for whole, compressed in OTHER_MIDDLES
        if runs.has(whole.key, compressed.key)
    ]
    evidence = [runs.compared(compressed, whole) for runs, whole, compressed in pairs]
    judged = [runs.judge(compressed, whole) for runs, whole, compressed in pairs]
    every = {whole for _, whole, _ in pairs} == {whole.key for whole, _ in OTHER_MIDDLES}
    # The framework fits in any case, because these models train; the question is the accuracy.
    free = _majority(judged) == "holds"
    return Claim(
        "C9",
        "The framework is generic: it fits other middle layers.",
        ("holds" if free else "holds in part") if every else "open",
        "CpRec's embedding and softmax work unchanged with a GRU and with self-attention. The "
        f"compressed models are {_tally(judged)}, of {len(judged)} comparisons of accuracy with "
        "the uncompressed ones."
        if judged
        else "No other middle layer is recorded yet.",
        tuple(evidence),
        "cprec reproduce generic",
    )


# ---- Verdicts ----


def _majority(judged: Sequence[Judgement]) -> Verdict:
    """The verdict on a claim to be as good, from its judgements in single settings."""
    worse, good = judged.count("worse"), judged.count("as good")
    if 2 * good > len(judged):
        return "holds" if not worse else "holds in part"
    return "does not hold" if worse and 2 * worse >= len(judged) else "open"


def _tally(judged: Sequence[Judgement]) -> str:
    """Judgements counted, as in "worse in 1 and not decided in 2"."""
    counts = [f"{kind} in {judged.count(kind)}" for kind in dict.fromkeys(judged)]
    return " and ".join(counts) or "not recorded"


# ---- Time ----


def _speed(times: Times, quantity: Quantity) -> tuple[float, Evidence]:
    """How many times faster CpRec is than NextItNet, whose only search is the exact one."""
    measured = times["milliseconds"]
    pair = {FULL: measured[quantity.against][FULL], SMALL: measured[quantity.key][SMALL]}
    ratio, low, high = speed_up(pair, SMALL, FULL)
    where = f"{_escaped(times['dataset'])}, width {times['width']}"
    found = f"{ratio:.1f} times as fast ({low:.1f} to {high:.1f})"
    made = f"{len(pair[FULL])} rounds, {times['device']}, threads: {times['threads']}"
    return ratio, Evidence(where, quantity.label, found, made)


def _faster(ratios: Sequence[float]) -> Verdict:
    if not ratios:
        return "open"
    if min(ratios) > 1.1:
        return "holds"
    return "holds in part" if max(ratios) > 1.1 else "does not hold"
