"""The claims ledger: each claim of the paper, what the recorded results say of it, the verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cprec_lib.evidence.records import (
    Result,
    read_result,
    read_results,
    values,
)
from cprec_lib.evidence.timing import speed_up
from cprec_lib.evidence.variants import BASELINE, COMPRESSED, GROUPS, IN_BREAD, NARROW
from cprec_lib.model.cost import count_parameters
from cprec_lib.train.evaluation import Interval, interval

Judgement = Literal["worse", "as good", "not decided"]
MARGIN = 0.05
"""A model is as good as another if the interval rules out a loss of this share."""
NARROWEST, WIDEST = 64, 512
"""NextItNet's widths in the paper's first figure."""
SIZED = GROUPS["sizes"][1:]
Verdict = Literal["holds", "holds in part", "does not hold", "open"]


@dataclass(frozen=True)
class Evidence:
    """One measurement: on which data, what was compared, what came out, how it was made."""

    where: str
    what: str
    found: str
    made: str


@dataclass(frozen=True)
class Entry:
    """A claim of the paper, judged."""

    claim: str
    says: str
    verdict: Verdict
    because: str
    evidence: tuple[Evidence, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Runs:
    """The recorded runs of one folder, by model, each at its tuned learning rate."""

    by_model: dict[str, list[Result]]

    def has(self, *names: str) -> bool:
        """Whether all these models are recorded."""
        return {*names} <= {*self.by_model}

    def difference(self, name: str, other: str) -> Interval:
        """NDCG@10 of one model minus another's, users paired, over the seeds that both have."""
        pairs = zip(self.by_model[name], self.by_model[other], strict=False)
        runs, others = zip(*pairs, strict=True)
        return interval(values(runs) - values(others))

    def judge(self, name: str, other: str) -> Judgement:
        """Worse if the interval lies below zero, as good if it rules out a loss of MARGIN."""
        gap = self.difference(name, other)
        if gap.high < 0:
            return "worse"
        return "as good" if gap.low > -MARGIN * self.mean(other) else "not decided"

    @property
    def dataset(self) -> str:
        """The data set of all the runs."""
        return str(next(iter(self.by_model.values()))[0]["dataset"])

    def mean(self, name: str, metric: str = "ndcg@10") -> float:
        """A test metric, averaged over the seeds."""
        return float(np.mean([run["test"][metric] for run in self.by_model[name]]))

    def width(self, name: str) -> int:
        """A trained model's width."""
        return int(self.by_model[name][0]["model_config"]["width"])

    def times_smaller(self, name: str, other: str) -> float:
        """How many times the parameters of the first model go into those of the other."""
        sizes = [float(self.by_model[model][0]["parameters"]) for model in (other, name)]
        return sizes[0] / sizes[1]

    def compared(self, name: str, other: str, sizes: bool = False) -> Evidence:
        """The paired difference as evidence, on request with how many times smaller one is."""
        gap = self.difference(name, other)
        share = gap.estimate / self.mean(other)
        found = f"{share:+.0%}: {gap.estimate:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        size = f" ({self.times_smaller(name, other):.1f} times smaller)" if sizes else ""
        return self.evidence(f"test NDCG@10 of {name}{size} against {other}", found, name, other)

    def evidence(self, what: str, found: str, name: str, other: str) -> Evidence:
        """Evidence on two models, with what made it."""
        first = self.by_model[name][0]
        seeds = min(len(self.by_model[name]), len(self.by_model[other]))
        width = first["model_config"]["width"] if first["model_config"] else "-"
        split = ", split by user" if first.get("split") == "by_user" else ""
        where = f"{self.dataset}, width {width}{split}"
        plural = "s" if seeds > 1 else ""
        devices = {run["device"] for model in (name, other) for run in self.by_model[model]}
        made = f"{seeds} seed{plural}, {first['n_users']:,} users, {' and '.join(sorted(devices))}"
        return Evidence(where, what, found, made)


def read_ledger(results: Path) -> list[Entry]:
    """Judge every claim by what `results` holds.

    Raises ValueError if a result file is damaged.
    """
    folders = sorted(path for path in (results / "runs").glob("*") if any(path.glob("*.json")))
    recorded = [Runs(read_results(path)) for path in folders]
    timed = [read_result(path) for path in sorted((results / "time").glob("*.json"))]
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


def to_markdown(entries: Sequence[Entry]) -> str:
    """The ledger as a page: a table of verdicts, then each claim with its evidence."""
    lines = [
        "# Which of the paper's claims hold",
        "",
        "Written by `cprec claims` from `results/`; a test refuses a page that differs from them.",
        "Intervals are 95 % bootstrap intervals over users, paired where two models are compared.",
        "Seconds come from shared machines; only ratios within one line mean something.",
        "",
        "| claim | the paper says | verdict |",
        "|---|---|---|",
        *(f"| [{e.claim}](#{e.claim.lower()}) | {e.says} | **{e.verdict}** |" for e in entries),
    ]
    for entry in entries:
        lines += ["", f"## {entry.claim}", "", f"*{entry.says}*", ""]
        lines.append(f"**{entry.verdict[0].upper()}{entry.verdict[1:]}.** {entry.because}")
        if entry.evidence:
            lines += ["", "| data | compared | measured | from |", "|---|---|---|---|"]
            lines += [f"| {e.where} | {e.what} | {e.found} | {e.made} |" for e in entry.evidence]
        if entry.command:
            lines += ["", f"To repeat: `{entry.command}`"]
    return "\n".join(lines) + "\n"


# ---- One function a claim ----


def _long_tail(path: Path) -> Entry:
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
    return Entry(
        "C1",
        "Item popularity is long-tailed, so most embedding parameters serve few interactions.",
        "holds" if holds else "holds in part",
        f"Four fifths of the rows serve {min(tails.values()):.0%} to {worst:.0%} of the "
        "interactions: fewer than their share everywhere, but about a third in most logs. Whether "
        "a row sees few interactions depends on the log.",
        tuple(evidence),
        "python -m tools.record_longtail",
    )


def _width(recorded: Sequence[Runs]) -> Entry:
    """Growth helps by over 20 % at some width, and at some depth at all; or it was measured up to
    the paper's width of 512 and did not. One data set can show that growth helps; to show that it
    does not takes more than one, as any can be too small for it."""
    deeper = [f"NextItNet, {depth} blocks" for depth in (8, 16)]
    of_width = [(runs, *pair) for runs in recorded for pair in _wider(runs)]
    of_depth = [
        (runs, name, BASELINE) for runs in recorded for name in deeper if runs.has(name, BASELINE)
    ]
    gains = [_gain(*pair) for pair in of_width]
    at_widest = [pair for pair in of_width if pair[0].width(pair[1]) >= WIDEST]
    sets = sorted({runs.dataset for runs, _, _ in at_widest})
    depth_helps = any(_gain(*pair).low > 0 for pair in of_depth)
    if any(gain.low > 0.2 for gain in gains):
        verdict: Verdict = "holds" if depth_helps else "holds in part"
    elif len(sets) > 1 and all(_gain(*pair).high < 0.2 for pair in at_widest):
        verdict = "holds in part" if depth_helps else "does not hold"
    else:
        verdict = "open"
    shares = [gain.estimate for gain in gains]
    needed = "; a verdict against the claim needs two, as one alone may be too small for the width"
    return Entry(
        "C2",
        "Growing NextItNet's width from 64 to 512 gains over 20 % accuracy; depth helps too.",
        verdict,
        f"Comparisons with larger widths: {len(of_width)}, from {min(shares):+.0%} to "
        f"{max(shares):+.0%}. With more blocks: {len(of_depth)}; a gain is "
        f"{'seen' if depth_helps else 'not seen'}. Width {WIDEST} is recorded on "
        f"{', '.join(sets) or 'no data set'}{needed if len(sets) < 2 else ''}."
        if of_width
        else "No width above 64 is recorded.",
        tuple(runs.compared(name, base) for runs, name, base in of_width + of_depth),
        "cprec reproduce width depth",
    )


def _wider(runs: Runs) -> list[tuple[str, str]]:
    """Recorded NextItNets that are wider than the paper's narrowest, each with that one."""
    named = [name for name in GROUPS["width"] if runs.has(name)]
    narrow = [name for name in named if runs.width(name) == NARROWEST]
    return [(name, narrow[0]) for name in named if narrow and runs.width(name) > NARROWEST]


def _gain(runs: Runs, name: str, other: str) -> Interval:
    """NDCG@10 won over another model, as a share of that one's."""
    gap, base = runs.difference(name, other), runs.mean(other)
    return Interval(gap.estimate / base, gap.low / base, gap.high / base)


def _size() -> Entry:
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
    return Entry(
        "C3",
        "CpRec is 4 to 8 times smaller than NextItNet.",
        "holds in part",
        "It takes a small head and, where the filling is a large part of the model, sharing. With "
        f"the cutoffs in the authors' code a model of MovieLens-20M's size is {times[0]:.1f} to "
        f"{times[1]:.1f} times smaller.",
        tuple(evidence),
        "notebooks/05_cprec.ipynb",
    )


def _accuracy(recorded: Sequence[Runs]) -> Entry:
    both = [runs for runs in recorded if runs.has(BASELINE, COMPRESSED)]
    evidence = [runs.compared(COMPRESSED, BASELINE) for runs in both]
    evidence += [runs.compared(NARROW, COMPRESSED) for runs in both if runs.has(NARROW)]
    judged = [runs.judge(COMPRESSED, BASELINE) for runs in both]
    sized = [(runs, name) for runs in recorded for name in SIZED if runs.has(BASELINE, name)]
    evidence += [runs.compared(name, BASELINE, sizes=True) for runs, name in sized]
    small = [
        runs.judge(name, BASELINE)
        for runs, name in [*sized, *((runs, COMPRESSED) for runs in both)]
        if name.startswith(COMPRESSED) and runs.times_smaller(name, BASELINE) >= 4
    ]
    return Entry(
        "C4",
        "In most cases CpRec is at least as accurate as the uncompressed model.",
        _majority(judged),
        f"CpRec is {_tally(judged)}, of {len(judged)} settings. At least 4 times smaller, with "
        f"several cuts and widths, it is {_tally(small)}. A plainly narrower NextItNet of the "
        "same size is the rival to beat.",
        tuple(evidence),
        "cprec reproduce overall rival sizes",
    )


def _training_time(timed: Sequence[Result]) -> Entry:
    found = [_speed(result, "training step") for result in timed]
    return Entry(
        "C5",
        "CpRec trains faster.",
        _faster([ratio for ratio, _ in found]),
        "A training step of NextItNet over one of CpRec, batches as in training, models in turn. "
        "The saving is in the softmax. A GPU is quick with that; there CpRec's larger number of "
        "small operations counts more, unless the catalogue is large.",
        tuple(evidence for _, evidence in found),
        "cprec reproduce time",
    )


def _inference_time(timed: Sequence[Result]) -> Entry:
    found = [
        _speed(result, f"{search}, {users}")
        for result in timed
        for users in (1, 64)
        for search in ("exact", "early stopping")
    ]
    return Entry(
        "C6",
        "CpRec infers faster, and faster still with the early-stopping top-N.",
        _faster([ratio for ratio, _ in found]),
        "Time to the ten best items for 1 and for 64 users, NextItNet's over CpRec's, models in "
        "turn. The early-stopping rule is not exact.",
        tuple(evidence for _, evidence in found),
        "cprec reproduce time",
    )


def _flat(recorded: Sequence[Runs]) -> Entry:
    flat, tree = "flat low-rank softmax", "softmax only"
    all_three = [runs for runs in recorded if runs.has(BASELINE, flat, tree)]
    pairs = ((flat, BASELINE), (tree, BASELINE), (flat, tree))
    evidence = [runs.compared(*pair) for runs in all_three for pair in pairs]
    of_flat, of_tree = ([runs.judge(name, BASELINE) for runs in all_three] for name in (flat, tree))
    if "worse" in of_tree:
        verdict: Verdict = "does not hold"
    elif "worse" in of_flat and {*of_tree} == {"as good"}:
        verdict = "holds"
    else:
        verdict = "open"
    return Entry(
        "C7",
        "Flat low-rank logits hurt accuracy; the two-level tree does not.",
        verdict,
        f"Against the full softmax the flat one is {_tally(of_flat)}, the tree {_tally(of_tree)}. "
        "Both have the same cutoffs and widths, and everything else is uncompressed.",
        tuple(evidence),
        "cprec reproduce decomposition",
    )


def _sharing(recorded: Sequence[Runs]) -> Entry:
    rival = "sharing cross-layer"
    schemes = ("sharing cross-block", "sharing adjacent-layer", "sharing adjacent-block")
    shared = [runs for runs in recorded if runs.has(BASELINE, rival, *schemes)]
    pairs = [(scheme, other) for other in (BASELINE, rival) for scheme in schemes]
    evidence = [runs.compared(*pair) for runs in shared for pair in pairs]
    kept = [runs.judge(scheme, BASELINE) for runs in shared for scheme in schemes]
    gaps = [runs.difference(scheme, rival) for runs in shared for scheme in schemes]
    beaten, lost = sum(gap.low > 0 for gap in gaps), sum(gap.high < 0 for gap in gaps)
    if kept and {*kept} == {"as good"} and beaten == len(gaps):
        verdict: Verdict = "holds"
    elif kept and (_majority(kept) == "does not hold" or lost > beaten):
        verdict = "does not hold"
    else:
        verdict = "open"
    return Entry(
        "C8",
        "The three sharing schemes keep accuracy, and beat sharing every layer.",
        verdict,
        f"Against no sharing the three schemes are {_tally(kept)}. Of {len(gaps)} comparisons with "
        f"sharing every layer they win {beaten} and lose {lost}.",
        tuple(evidence),
        "cprec reproduce sharing",
    )


def _generic(recorded: Sequence[Runs]) -> Entry:
    pairs = [
        (runs, whole, compressed)
        for runs in recorded
        for whole, compressed in IN_BREAD.items()
        if runs.has(whole, compressed)
    ]
    evidence = [runs.compared(compressed, whole) for runs, whole, compressed in pairs]
    judged = [runs.judge(compressed, whole) for runs, whole, compressed in pairs]
    every = {whole for _, whole, _ in pairs} == {*IN_BREAD}
    # It fits in any case, since these models train and recommend; the question is the price.
    free = _majority(judged) == "holds"
    return Entry(
        "C9",
        "The framework is generic: it fits other middle layers.",
        ("holds" if free else "holds in part") if every else "open",
        "CpRec's embedding and softmax work around a GRU and around self-attention as they are. "
        f"In accuracy they are {_tally(judged)}, of {len(judged)} comparisons with the "
        "uncompressed ones."
        if judged
        else "No other middle layer is recorded yet.",
        tuple(evidence),
        "cprec reproduce generic",
    )


# ---- Verdicts ----


def _majority(judged: Sequence[Judgement]) -> Verdict:
    """What single settings say together of a claim to be as good."""
    worse, good = judged.count("worse"), judged.count("as good")
    if 2 * good > len(judged):
        return "holds" if not worse else "holds in part"
    return "does not hold" if worse and 2 * worse >= len(judged) else "open"


def _tally(judged: Sequence[Judgement]) -> str:
    """Judgements counted, as in "worse in 1 and not decided in 2"."""
    counts = [f"{kind} in {judged.count(kind)}" for kind in dict.fromkeys(judged)]
    return " and ".join(counts) or "not recorded"


# ---- Time ----


def _speed(result: Result, quantity: str) -> tuple[float, Evidence]:
    """How many times faster CpRec is than NextItNet, whose only search is the exact one."""
    times = result["milliseconds"]
    baseline = times["exact" + quantity[quantity.index(",") :] if "," in quantity else quantity]
    pair = {BASELINE: baseline[BASELINE], COMPRESSED: times[quantity][COMPRESSED]}
    ratio, low, high = speed_up(pair, COMPRESSED, BASELINE)
    where = f"{result['dataset']}, width {result['width']}"
    found = f"{ratio:.1f} times as fast ({low:.1f} to {high:.1f})"
    made = f"{len(pair[BASELINE])} rounds, {result['device']}, threads: {result['threads']}"
    return ratio, Evidence(where, quantity, found, made)


def _faster(ratios: Sequence[float]) -> Verdict:
    if not ratios:
        return "open"
    if min(ratios) > 1.1:
        return "holds"
    return "holds in part" if max(ratios) > 1.1 else "does not hold"
