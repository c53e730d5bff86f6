"""The page of claims: verdicts, figures, and the runs behind them, as Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from cprec_lib.evidence.claims import Claim, Evidence
from cprec_lib.evidence.comparisons import Comparison, Finding, Recorded
from cprec_lib.evidence.markdown import escaped, table
from cprec_lib.evidence.records import Record, trial_of
from cprec_lib.evidence.settings import TUNED
from cprec_lib.evidence.statistics import MARGIN, UNDECIDED
from cprec_lib.evidence.variants import label
from cprec_lib.logs.synthetic import PREFIX

HEAD = """# Which of the paper's claims hold

`cprec claims` writes this page from `results/` by the rules in [evidence.md](evidence.md).

- We compare two models by their NDCG@10 on the test items, with a 95 % interval over users and
  seeds. **As good** means that the interval rules out a loss of {margin:.0f} % or more, **worse**
  that it does not and lies below zero. All else is **undecided**. For C2 and C8 we also ask for a
  gain. The answers are corrected for the number of comparisons that make a verdict, so an answer
  can be "undecided" although its interval alone would decide it. Brackets after an answer show how
  another margin changes it.
- A claim about accuracy **holds** or **does not hold** if two logs agree. If only one log decides
  it, or logs disagree, it **holds on** or **fails on** each log that decides. If no log decides
  it, it is **open**. C1, C3, C5 and C6 are not about accuracy. Such a claim **holds in part** if
  only some of the measurements agree with it.
- A comparison is **not counted** if the tuning of a variant is not complete, if its best learning
  rate or dropout lies at the edge of what was tried, if its training ended before it stopped
  improving, or if no variant of the setting has a second seed. The figures show it as a hollow dot.
- *Head*, *tail*, *cutoffs* and other terms are in the [glossary](glossary.md).
- *Recorded by* names the command that made the runs of a claim. It trains only what `results/`
  lacks; with `--results build/again --work build/again-runs` it makes them all again.
  `cprec reproduce --again results/records/FOLDER/RECORD.json` repeats one run, and prints both
  results and the range of its recorded seeds. The runs with fixed rates are in `results/runs/`."""


def to_markdown(claims: Sequence[Claim], figures: str = "figures") -> str:
    """The claims as a page; the figure of C4 is `figures`/claims-c4.png."""
    rows = [
        (f"[{each.claim}](#{each.claim.lower()})", each.says, f"**{each.verdict}**", each.why)
        for each in claims
    ]
    lines = [HEAD.format(margin=100 * MARGIN), ""]
    lines += table(("claim", "what it says", "verdict", "why"), rows)
    for claim in claims:
        lines += ["", f"## {claim.claim}", "", f"*{claim.says}*", ""]
        lines.append(f"**{claim.verdict[0].upper()}{claim.verdict[1:]}.** {claim.because}")
        if claim.evidence:
            lines += ["", *_measurements(claim.evidence)]
        if claim.parts:
            lines += ["", *_accuracy(claim, figures)]
        lines += ["", f"Recorded by: {_commands(claim)}"]
    return "\n".join([*lines, "", *_runs(claims)]) + "\n"


def _measurements(evidence: Sequence[Evidence]) -> Iterator[str]:
    """A row for each log or case, a column for each quantity."""
    columns = [*dict.fromkeys(each.what for each in evidence)]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for each in evidence:
        rows.setdefault((each.where, each.made), {})[each.what] = each.found
    cells = [
        (escaped(where), *(found.get(what, "") for what in columns), made)
        for (where, made), found in rows.items()
    ]
    yield from table(("data", *columns, "from"), cells)


def _accuracy(claim: Claim, figures: str) -> Iterator[str]:
    """The figure, the comparisons that count, and what would decide."""
    if any(claim.findings):
        yield f"![{claim.claim}: {alt(claim)}]({figures}/claims-{claim.claim.lower()}.png)"
    counted = [each for each in claim.findings if not each.comparison.flaws]
    if counted:
        rows: dict[tuple[str, str, str], Finding] = {}
        for each in counted:
            rows.setdefault(_pair(each), each)  # the first parts make the verdict
        yield ""
        yield from table(
            ("setting", "compared", "difference", "answer", "seeds", "users"),
            map(_compared, rows.values()),
        )
    if why := Counter(flaw for each in claim.findings for flaw in each.comparison.flaws):
        reasons = "; ".join(f"{flaw} ({number})" for flaw, number in why.most_common())
        yield from ("", f"Not counted, because {reasons}.")
    advice = []
    for each in counted:
        if each.answer == UNDECIDED:
            where = escaped(setting(each.comparison.recorded))
            advice.append(f"- {where}, {versus(each.comparison)}: {each.decided_by()}.")
    if not counted:
        advice.append(f"- Runs that count. `{claim.command} --list` prints the missing ones.")
    elif claim.command != (another := _on_another_log(claim, counted)):
        advice.append(f"- Runs on another log: `{another}` records them.")
    if advice and claim.verdict not in ("holds", "does not hold"):
        yield from ("", "What would decide:", "", *advice)


def _compared(finding: Finding) -> tuple[object, ...]:
    one = finding.comparison
    answer = f"{finding.answer}{_other_margins(finding)}"
    seeds = " and ".join(map(str, one.seeds))
    return escaped(setting(one.recorded)), versus(one), measured(one), answer, seeds, one.users


def _pair(finding: Finding) -> tuple[str, str, str]:
    """What a finding compares; two questions of a claim may share it."""
    one = finding.comparison
    return one.recorded.folder, one.key, one.other


def _on_another_log(claim: Claim, counted: Sequence[Finding]) -> str:
    """The claim's command for the first real log of which nothing counts yet, or as it is."""
    known = {each.comparison.log for each in counted}
    for name, one in TUNED.items():
        if one.dataset not in known and not one.dataset.startswith(PREFIX):
            return re.sub(r"(?<=--setting )ml-100k\S+", name, claim.command)
    return claim.command


def _commands(claim: Claim) -> str:
    """The claim's command for the first setting that counts, and the names of the others."""
    counted = (each.comparison for each in claim.findings if not each.comparison.flaws)
    first, *others = sorted({one.recorded.folder for one in counted} & {*TUNED}) or [""]
    command = re.sub(r"(?<=--setting )\S+", first, claim.command) if first else claim.command
    also = f"; the other settings: {', '.join(f'`{name}`' for name in others)}" if others else ""
    return f"`{command}`{also}"


def _other_margins(finding: Finding) -> str:
    """How other margins would change a judgement, in brackets."""
    others = finding.others.items()
    changed = [f"{m:.0%}: {answer}" for m, answer in others if answer != finding.answer]
    return f" ({'; '.join(changed)})" if changed else ""


def setting(recorded: Recorded) -> str:
    """A setting in words; "fixed rates" are learning rates that no rule extends."""
    run = recorded.any_run
    if recorded.synthetic:
        tail = f"{recorded.outside_head:.0%} outside the head"
        return f"made up, {tail}, width {recorded.width('nextitnet')}"
    widest = max(recorded.width(key) for key in recorded.runs)
    width = recorded.width("nextitnet") if recorded.has("nextitnet") else widest
    parts = [run["dataset"], f"width {width}"]
    if run["users"]:
        parts.append(f"{run['users']:,} users drawn")
    if run["split"] != "leave_one_out":
        parts.append(f"split {run['split'].replace('_', ' ')}")
    if recorded.initial_weights == "authors":
        parts.append("the authors' initial weights")
    if recorded.folder not in TUNED:
        parts.append("fixed rates")
    return ", ".join(parts)


def versus(comparison: Comparison) -> str:
    """Which two variants are compared, and how many times smaller the first one is."""
    ratio = comparison.recorded.times_smaller(comparison.key, comparison.other)
    size = f" ({ratio:.1f} times smaller)" if ratio > 1.05 else ""
    return f"{label(comparison.key)}{size} against {label(comparison.other)}"


def measured(comparison: Comparison) -> str:
    """The difference as a share of the baseline, with its interval."""
    low, high = comparison.difference.interval()
    ends = (comparison.share(end) for end in (comparison.difference.estimate, low, high))
    return "{:+.1%} [{:+.1%}, {:+.1%}]".format(*ends)


def alt(claim: Claim) -> str:
    """The figure of a claim in words."""
    counted = [each for each in claim.findings if not each.comparison.flaws]
    return f"{len([*claim.findings])} differences with intervals, {len(counted)} of them counted"


def _runs(claims: Sequence[Claim]) -> Iterator[str]:
    """The runs of all variants that the claims compare, in a folded table."""
    used: dict[tuple[str, str], Recorded] = {}
    for claim in claims:
        for each in claim.findings:
            for key in (each.comparison.key, each.comparison.other):
                used.setdefault((each.comparison.recorded.folder, key), each.comparison.recorded)
    yield from ("## Runs", "")
    yield from ("<details><summary>Tuning, seeds and devices of every variant</summary>", "")
    rows = []
    for (folder, key), recorded in sorted(used.items()):
        runs = recorded.runs[key]
        if trial := trial_of(runs[0]):
            rates, dropouts = zip(
                *(t for r in recorded.trials[key] if (t := trial_of(r))), strict=True
            )
            chosen = [
                f"{own:g} ({_numbers(all_)})"
                for own, all_ in zip(trial, (rates, dropouts), strict=True)
            ]
            own = (f"`{folder}`", label(key), *chosen, _epochs(runs), _devices(runs))
            rows.append((*own, recorded.untuned(key) or ""))
    yield from table(
        (
            "folder",
            "variant",
            "learning rate (tried)",
            "dropout (tried)",
            "best epochs",
            "seeds, device",
            "not counted, because",
        ),
        rows,
    )
    yield from ("", "</details>")


def _epochs(runs: Iterable[Record]) -> str:
    return ", ".join(str(run.get("best_epoch", "?")) for run in runs)


def _devices(runs: Sequence[Record]) -> str:
    return f"{len(runs)}, {' and '.join(sorted({run['device'] for run in runs}))}"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted({*values}))
