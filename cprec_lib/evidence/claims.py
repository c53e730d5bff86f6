"""The claims of the paper: what the recorded results say about each, and the verdict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from cprec_lib.evidence.comparisons import (
    Asked,
    Comparison,
    Finding,
    Recorded,
    find,
    together,
)
from cprec_lib.evidence.records import Times, read_times
from cprec_lib.evidence.settings import TUNED
from cprec_lib.evidence.statistics import BETTER, Question, speed_up, verdict
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
    label,
)
from cprec_lib.logs.tables import brief
from cprec_lib.model.config import cprec, nextitnet
from cprec_lib.model.cost import count_parameters

NARROWEST, WIDEST = 64, 512
"""NextItNet's widths in the paper's first figure."""
DEEPER = (8, 16)
"""Residual blocks of the deeper NextItNets; the paper's NextItNet has four."""
SMALLER = 4
"""A small model has this many times fewer parameters than NextItNet, or more."""
FEW = 10
"""Interactions of an item below which C1 calls them few."""
FASTER = 1.1
"""A model that is more than this many times as fast is called faster."""
GAIN = Question(0.2, 0.2, "gains over 20 %", "gains less than 20 %")
MADE_UP = {True: "holds on made-up logs", False: "fails on made-up logs", None: "open"}
FULL, SMALL, RIVAL = BASELINE.key, COMPRESSED.key, NARROW.key
PAIRS = "bigram"


@dataclass(frozen=True)
class Evidence:
    """One measurement: the data, what was compared, what was found, and how it was made."""

    where: str
    what: str
    found: str
    made: str


@dataclass(frozen=True)
class Part:
    """One question of a claim with its answers; a part that only informs does not judge."""

    title: str
    findings: Sequence[Finding]
    judges: bool = True

    def tally(self) -> str:
        """The answers counted, as in "as good in 1, worse in 1 and undecided in 2 of 4"."""
        counted = [each.answer for each in self.findings if not each.comparison.flaws]
        left = len(self.findings) - len(counted)
        found = [f"{answer} in {number}" for answer, number in Counter(counted).items()]
        if counted:
            words = " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
            return f"{words} of {len(counted)}"
        return f"{left} recorded, none counted" if left else "not recorded"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, judged.

    Claims about accuracy have `parts`, the others `evidence`. `command` records or repeats it.
    """

    claim: str
    says: str
    verdict: str
    because: str
    command: str
    evidence: tuple[Evidence, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def why(self) -> str:
        """Of `because`, what speaks against the claim, or else for it, or else the first part."""
        for supports in (False, True):
            for part in self.parts:
                if part.judges and any(each.supports is supports for each in part.findings):
                    return f"{part.title}: {part.tally()}."
        return self.because.partition(". ")[0].rstrip(".") + "."

    @property
    def findings(self) -> Iterator[Finding]:
        """The findings of all parts."""
        return (finding for part in self.parts for finding in part.findings)


def read_recorded(results: Path) -> list[Recorded]:
    """All recorded settings. Raises ValueError like `Recorded.read`."""
    folders = [*(results / "records").glob("*"), *(results / "runs").glob("*")]
    return [Recorded.read(path) for path in sorted(folders) if any(path.glob("*.json"))]


def judge_claims(results: Path) -> list[Claim]:
    """Judge every claim of the paper, and one of ours, by the records in `results`.

    Raises ValueError if a result file is damaged or names an unknown variant.
    """
    every = read_recorded(results)
    recorded = [runs for runs in every if not runs.synthetic]
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
        _tail([runs for runs in every if runs.synthetic and runs.has(FULL, SMALL)]),
    ]


# ---- One function a claim ----


def _long_tail(path: Path) -> Claim:
    try:
        logs = json.loads(path.read_text(encoding="utf-8"))["data_sets"].values()
        tails = {log["title"]: 1 - log["top_shares"]["0.2"] for log in logs}
        counts = {log["title"]: int(log["median_count"]) for log in logs}
        evidence = [
            Evidence(
                log["title"], what, found[log["title"]], f"all {log['interactions']:,} interactions"
            )
            for what, found in (
                (
                    "interactions of the least popular 80 % of the items",
                    {title: f"{share:.0%}" for title, share in tails.items()},
                ),
                ("interactions of the median item", {k: f"{n:,}" for k, n in counts.items()}),
            )
            for log in logs
        ]
        low, most = min(tails.values()), max(tails.values())
        few = sorted(title for title, count in counts.items() if count < FEW)
        holds = most < 0.8 and len(few) == len(counts)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is missing; `python -m tools.record_longtail --out {path}` makes it"
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({brief(error)}); `python -m tools.record_longtail` makes it again"
        ) from error
    return Claim(
        "C1",
        "Item popularity is long-tailed, so most embedding parameters serve few interactions.",
        "holds" if holds else "holds in part",
        f"The least popular 80 % of the items have {low:.0%} to {most:.0%} of the interactions, "
        f"and the median item has fewer than {FEW} in {len(few)} of {len(counts)} logs. Where it "
        f"has fewer ({', '.join(few) or 'nowhere'}), most rows of the embedding serve few.",
        "python -m tools.record_longtail",
        tuple(evidence),
    )


def _size() -> Claim:
    n_items, width = 26_744, 512
    full = count_parameters(nextitnet(n_items, width)).total
    cuts = {"the authors' cutoffs": (7000, 15_000), "cut at 5 and 20 %": (0.05, 0.2)}
    times = {
        (name, sharing): full / count_parameters(cprec(n_items, width, cut, sharing)).total
        for name, cut in cuts.items()
        for sharing in ("none", "adjacent-block", "cross-block")
    }
    evidence = [
        Evidence(
            f"{n_items:,} items, width {width}, {name}",
            f"sharing {sharing}",
            f"{ratio:.1f} times smaller",
            "parameter count",
        )
        for (name, sharing), ratio in times.items()
    ]
    authors, small = ([times[name, "none"], times[name, "cross-block"]] for name in cuts)
    return Claim(
        "C3",
        "CpRec is 4 to 8 times smaller than NextItNet.",
        _agreeing([ratio >= SMALLER for ratio in times.values()]),
        f"A model of MovieLens-20M's size is {authors[0]:.1f} to {authors[1]:.1f} times smaller "
        f"with the cutoffs in the authors' code, and {small[0]:.1f} to {small[1]:.1f} times with a "
        "smaller head. A factor of 4 needs a small head and, where the middle layers are a large "
        "part of the model, a sharing scheme.",
        "cprec claims",
        tuple(evidence),
    )


def _training_time(timed: Sequence[Times]) -> Claim:
    found = [_speed(times, STEP) for times in timed]
    return Claim(
        "C5",
        "CpRec trains faster.",
        _faster([ratio for ratio, _ in found]),
        _range("In training", [ratio for ratio, _ in found])
        + "We divide the time of a training step of NextItNet by that of CpRec; they take turns. "
        "The range is that over the rounds. CpRec saves time in the softmax. A GPU computes the "
        "softmax quickly, so there CpRec's larger number of small operations matters more, unless "
        "the catalogue is large.",
        "cprec reproduce time --results build/results",
        tuple(evidence for _, evidence in found),
    )


def _inference_time(timed: Sequence[Times]) -> Claim:
    found = [
        _speed(times, quantity)
        for times in timed
        for users in USERS
        for quantity in (EXACT[users], EARLY[users])
    ]
    early = [_of_early_stopping(times, users) for times in timed for users in USERS]
    of_exact = ""
    if early:
        of_exact = (
            f"Early stopping is {min(early):.1f} to {max(early):.1f} times as fast as CpRec's own "
            "exact search. "
        )
    return Claim(
        "C6",
        "CpRec infers faster, and faster still with the early-stopping top-N.",
        _agreeing([ratio > FASTER for ratio in (*(ratio for ratio, _ in found), *early)]),
        _range("In inference", [ratio for ratio, _ in found])
        + of_exact
        + "We divide NextItNet's time to find the ten best items by CpRec's; they take turns. "
        "The range is that over the rounds. "
        "*Exact, 64* is the exact search for 64 users at once. *Early stopping* is the authors' "
        "rule, which may miss items; it is compared with NextItNet's exact search.",
        "cprec reproduce time --results build/results",
        tuple(evidence for _, evidence in found),
    )


def _width(recorded: Sequence[Recorded]) -> Claim:
    wider = [
        Comparison.of(runs, wide, narrow, *_other_width(runs, wide))
        for runs, wide, narrow in _wider(recorded)
    ]
    deeper = [variant.key for variant in GROUPS["depth"] if variant.depth in DEEPER]
    widths, depths = find(Asked(wider, GAIN), Asked(_pairs(recorded, deeper, FULL), BETTER))
    parts = (
        Part(f"A larger width against {NARROWEST}", widths),
        Part("More residual blocks against four", depths),
    )
    return _claim(
        "C2",
        "Growing NextItNet's width from 64 to 512 gains over 20 % accuracy; depth helps too.",
        parts,
        "cprec reproduce width depth --setting ml-100k-w64",
        f" Only a width of {WIDEST} counts.",
    )


def _wider(recorded: Sequence[Recorded]) -> Iterator[tuple[Recorded, str, str]]:
    """Settings with a NextItNet wider than the narrowest of the paper, and that narrowest one.

    The two may be variants of one setting, or the NextItNets of two settings of one log.
    """
    narrow = f"{FULL}-w{NARROWEST}"
    for runs in recorded:
        base = [key for key in (FULL, narrow) if runs.has(key) and runs.width(key) == NARROWEST]
        for variant in GROUPS["width"]:
            if base and runs.has(variant.key) and runs.width(variant.key) > NARROWEST:
                yield runs, variant.key, base[0]
        if base or not runs.has(FULL) or runs.width(FULL) <= NARROWEST:
            continue
        for other in recorded:
            if other.has(FULL) and other.width(FULL) == NARROWEST and _alike(runs, other):
                yield runs.joined(other, {FULL: narrow}), FULL, narrow


def _alike(runs: Recorded, other: Recorded) -> bool:
    """Whether two settings have the same log, users, initial weights and way of tuning."""

    def described(recorded: Recorded) -> list[object]:
        run, tuned = recorded.runs[FULL][0], recorded.folder in TUNED
        data = [run["data_sha256"], run["split"], run["split_seed"], run["users"]]
        return [*data, recorded.initial_weights, tuned]

    return described(runs) == described(other)


def _other_width(runs: Recorded, key: str) -> list[str]:
    """A flaw for widths that the claim does not name."""
    width = runs.width(key)
    return [] if width == WIDEST else [f"the width is not the claim's, {WIDEST}"]


def _accuracy(recorded: Sequence[Recorded]) -> Claim:
    smaller = [v.key for v in GROUPS["sizes"] if v.family == "cprec"]
    small = [
        each
        for each in _pairs(recorded, [SMALL, *smaller], FULL)
        if each.recorded.times_smaller(each.key, FULL) >= SMALLER
    ]
    parts = (
        Part("CpRec against NextItNet", find(Asked(_pairs(recorded, [SMALL], FULL)))[0]),
        Part(
            f"CpRec, at least {SMALLER} times smaller, against NextItNet",
            find(Asked(small))[0],
            judges=False,
        ),
        Part(
            "A narrower NextItNet of CpRec's size against CpRec",
            find(Asked(_pairs(recorded, [RIVAL], SMALL)))[0],
            judges=False,
        ),
    )
    return _claim(
        "C4",
        "In most cases CpRec is at least as accurate as the uncompressed model.",
        parts,
        "cprec reproduce rival sizes --setting ml-100k-w64",
        " The first comparison alone decides the verdict." + _width_and_counts(parts[0].findings),
    )


def _width_and_counts(findings: Sequence[Finding]) -> str:
    """What C4's comparisons leave open: the paper's width, and logs where counting does better."""
    counted = [each.comparison.recorded for each in findings if not each.comparison.flaws]
    words = ""
    if counted and all(runs.width(FULL) < WIDEST for runs in counted):
        words = f" No comparison that counts has the paper's width, {WIDEST}."
    for runs in counted:
        scores = {key: runs.mean(key) for key in (FULL, SMALL, PAIRS) if runs.has(key)}
        if max(scores, key=scores.__getitem__) == PAIRS:
            words += (
                f" On {_drawn(runs)}, the {PAIRS} model, which counts how often an item follows "
                f"another, has a higher NDCG@10 ({scores[PAIRS]:.3f}) than NextItNet "
                f"({scores[FULL]:.3f}) and CpRec ({scores[SMALL]:.3f})."
            )
    return words


def _drawn(runs: Recorded) -> str:
    """A log, and how many of its users were drawn."""
    users = runs.any_run["users"]
    return f"{users:,} users of {runs.any_run['dataset']}" if users else runs.any_run["dataset"]


def _flat(recorded: Sequence[Recorded]) -> Claim:
    recorded = [runs for runs in recorded if runs.has(FULL, FLAT.key, TREE.key)]
    flat, tree = find(
        Asked(_pairs(recorded, [FLAT.key], FULL), supporting="worse"),
        Asked(_pairs(recorded, [TREE.key], FULL)),
    )
    both = Asked(_pairs(recorded, [FLAT.key], TREE.key), supporting="worse")
    parts = (
        Part("Flat low-rank softmax against full softmax", flat),
        Part("Two-level softmax against full softmax", tree),
        Part("Flat against two-level", find(both)[0], judges=False),
    )
    return _claim(
        "C7",
        "Flat low-rank logits hurt accuracy; the two-level tree does not.",
        parts,
        "cprec reproduce decomposition --setting ml-100k-w64",
        f" *{TREE.label[0].upper()}{TREE.label[1:]}* is NextItNet with the two-level softmax.",
    )


def _sharing(recorded: Sequence[Recorded]) -> Claim:
    every_layer, *schemes = (variant.key for variant in SHARED.values())
    recorded = [runs for runs in recorded if runs.has(FULL, every_layer, *schemes)]
    unshared, shared = find(
        Asked(_pairs(recorded, schemes, FULL)),
        Asked(_pairs(recorded, schemes, every_layer), BETTER),
    )
    parts = (
        Part("Each scheme against no sharing", unshared),
        Part("Each scheme against sharing every layer", shared),
    )
    return _claim(
        "C8",
        "The three sharing schemes keep accuracy, and beat sharing every layer.",
        parts,
        "cprec reproduce sharing --setting ml-100k-w64",
        " *Cross-layer* sharing means that every layer has the same weights.",
    )


def _generic(recorded: Sequence[Recorded]) -> Claim:
    every = [variant.key for pair in OTHER_MIDDLES for variant in pair]
    recorded = [runs for runs in recorded if runs.has(*every)]
    found = find(
        *(Asked(_pairs(recorded, [small.key], whole.key)) for whole, small in OTHER_MIDDLES)
    )
    parts = tuple(
        Part(f"{small.label} against {whole.label}", findings)
        for (whole, small), findings in zip(OTHER_MIDDLES, found, strict=True)
    )
    return _claim(
        "C9",
        "The framework is generic: it fits other middle layers.",
        parts,
        "cprec reproduce generic --setting ml-100k-w64",
        " CpRec's embedding and softmax work unchanged with a GRU and with self-attention; the "
        "question is the accuracy.",
    )


def _tail(recorded: Sequence[Recorded]) -> Claim:
    """Our own explanation, tested on made-up logs of which only the popularity curve differs.

    It holds if CpRec is as good where the least lies outside the head, and worse where most does.
    """
    by_tail = sorted(recorded, key=lambda runs: runs.outside_head)
    narrow = [runs for runs in by_tail if runs.width(FULL) == NARROWEST]
    others = [runs.any_run["dataset"] for runs in by_tail if runs.width(FULL) != NARROWEST]
    by_width = [runs for runs in recorded if runs.any_run["dataset"] in others]
    by_width.sort(key=lambda runs: runs.width(FULL))
    (by_share,) = find(Asked(_pairs(narrow, [SMALL], FULL)))
    parts = (
        Part("CpRec against NextItNet, by the share outside the head", by_share),
        Part(
            "CpRec against NextItNet, by the width",
            find(Asked(_pairs(by_width, [SMALL], FULL)))[0],
            judges=False,
        ),
    )
    told = [part for part in parts if part.judges or part.findings]
    ends: list[bool | None] = [None]
    if len(by_share) > 1:
        most = by_share[-1].supports
        ends = [by_share[0].supports, None if most is None else not most]
    return Claim(
        "Tail",
        "Our explanation: the more of the test items lie outside the head, the more CpRec loses.",
        MADE_UP[together(ends)],
        " ".join(f"{part.title}: {part.tally()}." for part in told) + _reached(narrow),
        "cprec reproduce overall --model nextitnet --model cprec --setting tail-70-w64",
        parts=parts,
    )


def _reached(recorded: Sequence[Recorded]) -> str:
    """How much of the best reachable score the two models reach."""
    words = []
    for key in (FULL, SMALL):
        shares = [
            runs.mean(key) / runs.synthetic.best()["ndcg@10"] for runs in recorded if runs.synthetic
        ]
        if shares:
            ends = dict.fromkeys(f"{end:.0%}" for end in (min(shares), max(shares)))
            words.append(f"{label(key)} reaches {' to '.join(ends)}")
    if not words:
        return ""
    return (
        f" The logs are made up, so the best reachable NDCG@10 is known: {' of it, '.join(words)}."
    )


# ---- Verdicts ----


def _pairs(recorded: Sequence[Recorded], keys: Sequence[str], other: str) -> list[Comparison]:
    """Every variant against another one, in all settings that have both."""
    return [
        Comparison.of(runs, key, other) for runs in recorded for key in keys if runs.has(key, other)
    ]


def _claim(name: str, says: str, parts: tuple[Part, ...], command: str, more: str = "") -> Claim:
    """A claim on accuracy: a setting supports it if it supports every part that judges."""
    judging = [each for part in parts if part.judges for each in part.findings]
    judging.sort(key=lambda each: each.comparison.recorded.folder)
    settings = [
        [*findings]
        for _, findings in groupby(judging, lambda each: each.comparison.recorded.folder)
    ]
    judged = [
        (found[0].comparison.log, together([each.supports for each in found])) for found in settings
    ]
    because = " ".join(f"{part.title}: {part.tally()}." for part in parts)
    because += _whose_weights(judging) + more
    return Claim(name, says, verdict(judged), because, command, parts=parts)


def _whose_weights(findings: Sequence[Finding]) -> str:
    """A sentence if all comparisons that decide have the same kind of initial weights."""
    runs = [each.comparison.recorded for each in findings if each.supports is not None]
    if {one.initial_weights for one in runs} != {"scaled"}:
        return ""
    return " Every comparison that decides has our initial weights, not the authors'."


# ---- Time ----


def _speed(times: Times, quantity: Quantity) -> tuple[float, Evidence]:
    """How many times faster CpRec is than NextItNet, whose only search is the exact one."""
    measured = times["milliseconds"]
    pair = {FULL: measured[quantity.against][FULL], SMALL: measured[quantity.key][SMALL]}
    ratio, low, high = speed_up(pair, SMALL, FULL)
    where = f"{times['dataset']}, width {times['width']}"
    found = f"{ratio:.1f} ({low:.1f} to {high:.1f})"
    made = f"{len(pair[FULL])} rounds, {times['device']}, threads: {times['threads']}"
    return ratio, Evidence(where, quantity.label, found, made)


def _of_early_stopping(times: Times, users: int) -> float:
    """How many times faster CpRec's early stopping is than its own exact search."""
    measured = times["milliseconds"]
    pair = {"exact": measured[EXACT[users].key][SMALL], "early": measured[EARLY[users].key][SMALL]}
    return speed_up(pair, "early", "exact")[0]


def _range(when: str, ratios: Sequence[float]) -> str:
    """A sentence on the ratios; empty without any."""
    if not ratios:
        return ""
    low, high = min(ratios), max(ratios)
    slower = " (below 1 is slower)" if low < 1 else ""
    return f"{when}, CpRec is {low:.1f} to {high:.1f} times as fast as NextItNet{slower}. "


def _faster(ratios: Sequence[float]) -> str:
    return _agreeing([ratio > FASTER for ratio in ratios])


def _agreeing(measured: Sequence[bool]) -> str:
    """The verdict of a claim that is measured, by which of the measurements agree with it."""
    if not measured:
        return "open"
    if all(measured):
        return "holds"
    return "holds in part" if any(measured) else "does not hold"
