"""The page of the race at equal bytes, and the README's table of it, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cprec_lib.compress.budget import TUNING_EPOCHS
from cprec_lib.compress.racers import way
from cprec_lib.evidence.markdown import escaped, table
from cprec_lib.evidence.race import (
    BASE,
    RACED,
    RACES,
    REFERENCES,
    TIMES,
    Standing,
    outside_head,
    standings,
    winners,
)
from cprec_lib.evidence.records import read_result
from cprec_lib.evidence.statistics import MARGIN, Question, judge
from cprec_lib.logs.datasets import title_of

HEAD = """# The race at equal bytes

Which way to make NextItNet small loses least accuracy, if all ways may use the same number of
bytes? The answer depends on the log. Each log has four budgets, which are shares of the bytes of
the uncompressed model. [Notebook 09](../notebooks/09_smaller_still.ipynb) explains the ways,
[evidence.md](evidence.md#7-the-race-at-equal-bytes) has the rules, and the [glossary](glossary.md)
the terms. `cprec claims` writes this page from `results/race`."""
READING = """How to read the tables:

- *Width*: each racer is as wide as the budget lets it be, but not wider than NextItNet. In groups
  of 16 the width has to be a multiple of 16, or at most 5, so these racers can leave a part of the
  budget unused.
- *Order*: the racers of a budget are sorted by their NDCG@10 on the validation items, and the first
  one is the winner. The test items play no part in this.
- *Difference*: the change of test NDCG@10 against the uncompressed model, in percent of that
  model's NDCG@10, with a 95 % interval. The intervals of the best racers often overlap. *Own
  tables* of NextItNet's width are the full model, rounded. Their interval is wider than that of
  the *rounded full model*, which alone is compared with its own training, seed by seed.
- *Answer*: "as good" if the interval rules out a loss of {margin:.0f} % or more, otherwise "worse"
  if it lies below zero, and else "undecided". No answer is corrected for the number of racers.
- *Head*: the test NDCG@10 of the users whose target is among the most popular tenth of the items.
  *Outside*: that of the other users.
- *Training*: its time, a mean over the seeds. For a model that is only rounded, it is the time of
  training that model, for the *rounded full model* of training it once more. Other work shared
  the machine, so these times say little.
- *Search*: the time of a search for one user. *Memory*: the most bytes that the tensors of this
  search take at once, without the weights. Both columns are omitted where nothing is recorded.

`cprec race --dataset LOG` records a race, and `--racer NAME` a part of it."""
AIMS = {4: MARGIN, 8: 0.01, 16: 0.05}
"""The share of NDCG@10 that may be lost, by budget; "no loss" is less than the margin."""
AIMED = (
    "An aim is the share of NDCG@10 that the winner of a budget may lose; a loss of less than "
    f"{100 * MARGIN:.0f} % counts as no loss. It is *reached* if the whole interval shows a "
    "smaller loss, *missed* if it shows a larger one, and otherwise *undecided*. A cell has the "
    "winner, and its change of test NDCG@10 against the uncompressed model with a 95 % interval. "
    "In a part of a race, the winner is the best of the racers that are recorded, so an answer may "
    "change. *With one seed* means that the interval is over the users alone: it leaves out what "
    "another seed would change, and the rules for claims would not count it."
)
SHOWN = (8, 32)
"""Budgets in the README's table."""


@dataclass(frozen=True)
class RecordedRace:
    """A recorded race: its log's name, its standings, and the record without the finishes.

    `commits` and `dates` are those of its finishes.
    """

    log: str
    standings: list[Standing]
    record: Mapping[str, Any]
    commits: tuple[str, ...]
    dates: tuple[str, ...]

    @property
    def title(self) -> str:
        """The log's title, and the share of distillation if there was any."""
        share = self.record.get("distillation")
        title = escaped(title_of(self.log))
        return f"{title}, with distillation {share:g}" if share else title

    @property
    def base(self) -> Standing:
        """The uncompressed model."""
        return next(each for each in self.standings if each.racer == BASE)

    def at(self, times: int) -> list[Standing]:
        """The racers at a budget, those with the best validation NDCG@10 first."""
        own = (each for each in self.standings if each.times == times and each.racer != BASE)
        return sorted(own, key=lambda each: (-each.valid, each.bytes))

    def entrants(self, times: int) -> int | None:
        """How many racers keep a budget; None where the record does not say."""
        known = self.record.get("entrants")
        return None if known is None else known.get(str(times), 0)

    @property
    def is_partial(self) -> bool:
        """Whether models or seeds are missing.

        A record that does not say how many racers keep a budget is whole if all racers are recorded
        at the largest one.
        """
        seeds = RACES[self.log].seeds if self.log in RACES else 1
        whole = {times: self.entrants(times) for times in TIMES}
        if self.record.get("entrants") is None:
            whole = {TIMES[0]: len(RACED)}
        every = [len(self.at(times)) >= (number or 0) for times, number in whole.items()]
        raced = (each for each in self.standings if each.racer not in REFERENCES)
        return not all(every) or any(each.seeds < seeds for each in raced)


def read_races(folder: Path) -> list[RecordedRace]:
    """The recorded races of a folder: whole ones first, and those with distillation last.

    Raises ValueError as `read_result` does, and for a record without the uncompressed model.
    """
    races = []
    for path in sorted(folder.glob("*.json")):
        record = read_result(path)
        finishes = record.pop("finishes", [])
        if not any(each["racer"] == BASE for each in finishes):
            raise ValueError(
                f"{path} is no race, or lacks its uncompressed model; move it to another folder"
            )
        found = RecordedRace(
            record["dataset"],
            standings(finishes),
            record,
            tuple(sorted({str(each["commit"]) for each in finishes} - {"None"})),
            tuple(sorted({each["date"] for each in finishes})),
        )
        races.append(found)
    order = {log: place for place, log in enumerate(RACES)}
    return sorted(
        races,
        key=lambda race: (
            race.record.get("distillation", 0.0),
            race.is_partial,
            order.get(race.log, len(order)),
        ),
    )


# ---- The page ----


def to_markdown(races: Sequence[RecordedRace]) -> str:
    """The page of all recorded races."""
    plain = [race for race in races if not race.record.get("distillation")]
    lines = [HEAD]
    if plain:
        lines += ["", "## How the aims came out", "", *_conclusions(plain)]
        lines += ["", AIMED, "", *_aims(plain)]
    lines += ["", "## What is raced", "", *_forms(), "", READING.format(margin=100 * MARGIN)]
    for race in races:
        lines += ["", f"## {race.title}", "", *_setting(race)]
        lines += ["", "### Without a budget", "", *_standings([race.base, *race.at(1)])]
        for times in TIMES:
            if at := race.at(times):
                limit = race.base.bytes // times
                lines += ["", f"### At most 1/{times} of the bytes, {limit:,}", ""]
                lines += _standings(at)
    return "\n".join(lines) + "\n"


def _forms() -> Iterator[str]:
    """Which ways are raced in which form."""
    forms: dict[str, list[str]] = {}
    for label in RACED:
        name, _, form = label.partition(", ")
        forms.setdefault(form or "the largest weights alone, in float32", []).append(name)
    yield (
        "A *racer* is one way in one form: in float32, or rounded to int8 or int4. Each row of a "
        "rounded table has one scale, or each group of 16 weights has one. These are raced:"
    )
    yield ""
    for form, names in forms.items():
        yield f"- {form}: {', '.join(names)}"
    yield ""
    yield (
        "*Random codes* are there for comparison with *shared codes*, which are made from the "
        "interactions. `cprec compress` tries every other way in every form, and two more forms: "
        "int4 with one scale per row, and int4 with further training after the rounding."
    )


def _aims(races: Sequence[RecordedRace]) -> Iterator[str]:
    """A row for each aim, a column for each log: the answer and the winner."""
    rows = []
    for times in TIMES:
        rows.append((_aim(times), *(_aimed(race, times) for race in races)))
    yield from table(("aim", *map(_named, races)), rows)


def _aim(times: int) -> str:
    if times not in AIMS:
        return f"1/{times}: what is best"
    within = "no loss" if AIMS[times] == MARGIN else f"within {100 * AIMS[times]:.0f} %"
    return f"1/{times}, {within}"


def _aimed(race: RecordedRace, times: int) -> str:
    """Whether the winner reaches the aim, and what it loses; empty if nothing is recorded."""
    if (winner := winners(race.standings).get(times)) is None:
        return ""
    so_far = " so far" if race.is_partial else " with one seed" if race.base.seeds == 1 else ""
    reached = f"**{_reached(winner, times)}{so_far}**: " if times in AIMS else ""
    return f"{reached}{winner.racer}, {percent(winner)}"


def _reached(winner: Standing, times: int) -> str:
    """Whether the whole interval lies above the loss that is allowed, or below it."""
    question = Question(-AIMS[times], -AIMS[times], "reached", "missed")
    return judge(winner.gap, question)


def _conclusions(races: Sequence[RecordedRace]) -> Iterator[str]:
    yield f"- **CpRec at equal bytes:** {_cprec(races)}"
    yield f"- **The full model, rounded:** {_rounded(races)}"


def _cprec(races: Sequence[RecordedRace]) -> str:
    """Where CpRec wins, where its blocks in another form do, and where it is not recorded."""
    said = []
    for race in races:
        best = winners(race.standings)
        text = f"On {_named(race)}, CpRec wins at {_won(race)}"
        forms: dict[str, list[str]] = {}
        for times, one in best.items():
            if "by popularity" in one.racer:
                forms.setdefault(way(one.racer), []).append(f"1/{times}")
        for form, where in forms.items():
            text += f"; at {_and(where)}, its blocks win in another form: {form}"
        said.append(f"{text}.")
        recorded = {each.times for each in race.standings if way(each.racer) == "CpRec"}
        if lacking := [f"1/{times}" for times in best if times not in recorded]:
            said.append(f"It is not recorded there at {_and(lacking)}.")
    return " ".join(said)


def _won(race: RecordedRace) -> str:
    """The budgets that CpRec wins."""
    best = winners(race.standings).items()
    return _and(f"1/{times}" for times, one in best if way(one.racer) == "CpRec") or "no budget"


def _rounded(races: Sequence[RecordedRace]) -> str:
    """What rounding alone costs, without training anew."""
    said, missing = [], []
    for race in races:
        parts = [
            f"{each.racer.partition(', ')[2]} leaves {100 * each.bytes / race.base.bytes:.1f} % of "
            f"its bytes and changes its NDCG@10 by {percent(each)} ({judge(each.gap)})"
            for each in race.standings
            if each.racer in REFERENCES
        ]
        if parts:
            said.append(f"On {_named(race)}, {'; '.join(parts)}.")
        else:
            missing.append(_named(race))
    return " ".join([*said, *([f"Not recorded on {_and(missing)}."] if missing else [])])


def _setting(race: RecordedRace) -> Iterator[str]:
    """How the models of a race were trained, and what of it is recorded."""
    of, record = race.record["setting"], race.record
    log = f"`{race.log}`" + (f", {of['users']:,} users drawn" if of["users"] else "")
    outside = _number(100 * outside_head(race.standings), ".0f", " %") or "an unknown share"
    yield (
        f"{log}: {record['n_items']:,} items, {record['n_users']:,} users with a test item; "
        f"{outside} of the test items lie outside the head. NextItNet of width {of['width']} "
        f"with the dilations {_and(map(str, of['dilations']))}, dropout {of['dropout']:g}, windows "
        f"of {of['max_len']}. Every model is trained for {of['epochs']} epochs (pruned ones for "
        f"{TUNING_EPOCHS} more) in batches of {of['batch_size']}, at a learning rate that falls "
        "from "
        f"{_and(f'{rate:g}' for rate in of['learning_rates'])} to zero. {_seeds(race)} Recorded "
        f"{_and(race.dates)} on {record['device']} (threads: {record['threads']}), commits: "
        f"{_and(race.commits) or 'unknown'}."
    )
    if share := record.get("distillation"):
        yield ""
        yield (
            f"*Distillation* means that a share of the training loss, here {share:g}, makes the "
            "models learn from the uncompressed one. This race counts for no aim."
        )
    if race.is_partial:
        yield ""
        counts = []
        for times in TIMES:
            entrants, number = race.entrants(times), len(race.at(times))
            of_all = "" if entrants is None else f" of {entrants}"
            counts.append(f"{number}{of_all} at 1/{times}")
        yield (
            f"**This is a part of the race.** Racers recorded: {_and(counts)}. A winner is the "
            "best of these."
        )


def _seeds(race: RecordedRace) -> str:
    seeds = sorted({each.seeds for each in race.standings})
    if seeds[-1] == 1:
        return "One seed, so the intervals are over the users alone."
    return f"Seeds of each model: {' or '.join(map(str, seeds))}."


def _standings(found: Sequence[Standing]) -> Iterator[str]:
    columns = ["racer", "bytes", "difference", "answer", "head", "outside", "training"]
    timed = any(not math.isnan(each.milliseconds) for each in found)
    if timed:
        columns += ["search", "memory"]
    rows = []
    for each in found:
        gap = ("", "") if each.racer == BASE else (percent(each), judge(each.gap))
        cells = [each.model if each.times > 1 else each.racer, f"{each.bytes:,}", *gap]
        cells += [_number(each.head, ".3f"), _number(each.outside, ".3f")]
        cells.append(f"{each.seconds:,.0f} s")
        if timed:
            cells += [_number(each.milliseconds, ".2f", " ms")]
            cells += [_number(each.search_bytes / 1000, ",.0f", " kB")]
        rows.append(cells)
    yield from table(columns, rows)


# ---- The README ----


def readme_table(races: Sequence[RecordedRace]) -> str:
    """The best form of each way at two budgets on each log, and its command."""
    columns = [f"{race.title} 1/{times}" for race in races for times in SHOWN]
    rows = []
    for name in dict.fromkeys(map(way, RACED)):
        cells = []
        for race in races:
            best = winners([each for each in race.standings if way(each.racer) == name])
            cells += [_cell(best[times]) if times in best else "" for times in SHOWN]
        rows.append((name, *cells, f'`cprec race --dataset LOG --racer "{name}"`'))
    return "\n".join(table(("racer", *columns, "command"), rows))


def readme_finding(races: Sequence[RecordedRace]) -> str:
    """The line of the README's table of findings: where CpRec wins."""
    said = (f"at {_won(race)} on {race.log}" for race in races)
    return (
        "| [Race](docs/race.md) | Our question: of ten ways to make the model small, is CpRec the "
        f"most accurate at equal bytes? | {'; '.join(said)} |"
    )


def _cell(standing: Standing) -> str:
    """What the best form of a way loses."""
    form = standing.racer.partition(", ")[2].replace(" in groups of 16", "")
    return f"{percent(standing)} {form}".strip()


# ---- Words ----


def percent(standing: Standing) -> str:
    """The difference in percent of the uncompressed NDCG@10, with its interval."""
    gap = standing.gap
    share, low, high = (100 * end / gap.baseline for end in (gap.estimate, *gap.interval()))
    digits = 0 if high - low > 10 else 1
    share, low, high = (round(end, digits) + 0.0 for end in (share, low, high))  # no "-0.0"
    return f"{share:+.{digits}f} % [{low:+.{digits}f}, {high:+.{digits}f}]"


def _named(race: RecordedRace) -> str:
    return f"{race.title} (a part)" if race.is_partial else race.title


def _number(value: float, form: str, unit: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{form}}{unit}"


def _and(words: Iterable[str]) -> str:
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last
