"""The page of the race at equal bytes, the README's table of it, and what both say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cprec_lib.compress.racers import way
from cprec_lib.evidence.race import BASE, RACED, REFERENCES, TIMES, winners
from cprec_lib.evidence.race_page import (
    RecordedRace,
    percent,
    read_races,
    readme_finding,
    readme_table,
    to_markdown,
)
from cprec_lib.evidence.records import pack_ranks, write_result
from cprec_lib.evidence.statistics import judge

ROOT = Path(__file__).resolve().parents[2]
SETTING = {"users": None, "width": 8, "dilations": [1, 4], "dropout": 0.1, "max_len": 20}
SETTING |= {"epochs": 3, "batch_size": 32, "learning_rates": [0.01]}
DRAW = np.random.default_rng(0)
RANKS = DRAW.integers(1, 12, 4000)


@pytest.fixture(scope="module")
def recorded() -> list[RecordedRace]:
    return read_races(ROOT / "results" / "race")


@pytest.fixture(scope="module")
def whole(recorded: list[RecordedRace]) -> list[RecordedRace]:
    return [r for r in recorded if not r.is_partial and not r.record.get("distillation")]


def finish(racer: str, times: int = 1, lost: float = 0.0, **values: Any) -> dict[str, Any]:
    """A finish that loses about a share of NDCG@10."""
    ranks = np.where(np.arange(4000) < 4000 * lost, 11, RANKS)
    found = {"valid": 0.2 - lost / 10, "test": 0.1, "head": 0.2, "outside": 0.05, "seconds": 9.0}
    made = {"racer": racer, "model": f"{racer}, width 8", "seed": 0, "times": times, "bytes": 800}
    stamp = {"commit": "abc", "date": "2026-11-30"}
    return {**made, **found, **stamp, "ranks": pack_ranks(ranks), **values}


def race(folder: Path, log: str, *finishes: dict[str, Any], **record: Any) -> None:
    """Write the record of a race."""
    made = {"n_items": 50, "n_users": 4000, "device": "cpu", "threads": 1}
    base = finish(BASE, bytes=3200)
    found = {"dataset": log, "setting": SETTING, **made, "finishes": [base, *finishes], **record}
    write_result(folder / f"{log}.json", found)


def test_the_page_is_that_of_the_records(recorded: list[RecordedRace]) -> None:
    """If it is not, `cprec claims` writes it."""
    assert (ROOT / "docs" / "race.md").read_text(encoding="utf-8") == to_markdown(recorded)


def test_the_readme_has_the_table_and_the_finding_of_the_records(whole: list[RecordedRace]) -> None:
    """If not, the README's lines are to be replaced by what the two functions return."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n\n{readme_table(whole)}\n\n" in readme
    assert f"\n{readme_finding(whole)}\n" in readme
    for name in map(way, RACED):
        assert f'`cprec race --dataset LOG --racer "{name}"`' in readme


def test_the_readme_says_where_cprec_wins(whole: list[RecordedRace]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    recorded = {race.log: race for race in whole}
    best = {log: winners(race.standings) for log, race in recorded.items()}
    films, more_films, globo = best["ml-100k"], best["ml-1m"], best["globo"]
    assert [t for t in TIMES if way(globo[t].racer) == "CpRec"] == [8, 16, 32]
    smaller = f"{recorded['globo'].base.bytes / globo[8].bytes:.0f} times smaller than NextItNet"
    assert f"in int8 it is {smaller}, with {percent(globo[8])}." in readme
    for logs in (films, more_films):
        assert not [t for t in TIMES if way(logs[t].racer) == "CpRec"]
        assert way(logs[32].racer) == "tied blocks by popularity"
    both = f"{percent(films[32])} on MovieLens-100K and {percent(more_films[32])} on MovieLens-1M."
    assert f"(*tied blocks by popularity*): {both}" in readme
    assert way(films[8].racer) == "shared codes"
    assert f"Shared codes win at 1/8 on MovieLens-100K with {percent(films[8])}" in readme
    assert more_films[8].racer == "own tables, int4 in groups of 16"
    assert f"own tables in int4 win, with {percent(more_films[8])}." in readme


def test_the_readme_says_what_rounding_alone_costs(whole: list[RecordedRace]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "keeps a sixth of its bytes, and is as good on MovieLens-1M and Globo (on" in readme
    label = "rounded full model, int4 in groups of 16"
    found = {r.log: (r.base, s) for r in whole for s in r.standings if s.racer == label}
    answers = {log: judge(standing.gap) for log, (_, standing) in found.items()}
    assert answers == {"ml-100k": "undecided", "ml-1m": "as good", "globo": "as good"}
    assert all(5.5 < base.bytes / standing.bytes < 6.5 for base, standing in found.values())


def test_a_record_without_the_uncompressed_model_is_refused(tmp_path: Path) -> None:
    write_result(tmp_path / "one.json", {"dataset": "one", "setting": SETTING, "finishes": []})
    with pytest.raises(ValueError, match=r"one\.json is no race, or lacks its uncompressed model"):
        read_races(tmp_path)


def test_the_readme_says_which_forms_are_raced() -> None:
    """As the sentence before its table does."""
    forms: dict[str, set[str]] = {}
    for label in RACED:
        name, _, form = label.partition(", ")
        forms.setdefault(form, set()).add(name)
    assert forms[""] == {"pruned"}
    assert forms["int8"] == {*map(way, RACED)} - {"pruned"}
    assert forms["int8"] - forms["int4 in groups of 16"] == {"low rank", "random codes"}
    assert forms["float32"] == {"own tables", "low rank", "CpRec"} and len(forms) == 4


def test_the_aims_are_judged_by_the_winner(tmp_path: Path) -> None:
    race(
        tmp_path,
        "one",
        finish("tied, int8", 4, 0.0),
        finish("CpRec, int8", 4, 0.5),
        finish("tied, int8", 8, 0.3),
        finish("CpRec by popularity, int8", 16, 0.05),
        finish("CpRec, int8", 32, 0.4),
        entrants={"4": 2, "8": 1, "16": 1, "32": 1},
    )
    page = to_markdown(read_races(tmp_path))
    assert "| 1/4, no loss | **reached with one seed**: tied, int8, " in page
    assert "| 1/8, within 1 % | **missed with one seed**: tied, int8, " in page
    assert "| 1/16, within 5 % | **undecided with one seed**: CpRec by popularity, int8, " in page
    assert "| 1/32: what is best | CpRec, int8, -39.0 % [" in page
    assert (
        "On one, CpRec wins at 1/32; at 1/16, its blocks win in another form: CpRec by popularity. "
        "It is not recorded there at 1/8 and 1/16."
    ) in page
    assert "Not recorded on one." in page and "(a part)" not in page


def test_a_part_of_a_race_is_called_one(tmp_path: Path) -> None:
    race(tmp_path, "one", finish("tied, int8", 4), entrants={"4": 2, "8": 1})
    race(tmp_path, "old", *(finish(racer, 4) for racer in RACED))
    race(tmp_path, "less", *(finish(racer, 4) for racer in [*RACED][1:]))
    race(tmp_path, "ml-100k", *(finish(racer, 4) for racer in RACED))  # asks for three seeds
    races = {each.log: each for each in read_races(tmp_path)}
    assert {log for log, each in races.items() if each.is_partial} == {"one", "less", "ml-100k"}
    assert next(iter(races)) == "old"  # whole ones come first
    page = to_markdown(read_races(tmp_path))
    assert (
        "Racers recorded: 1 of 2 at 1/4, 0 of 1 at 1/8, 0 of 0 at 1/16 and 0 of 0 at 1/32." in page
    )
    assert f"{len(RACED) - 1} at 1/4, 0 at 1/8" in page and page.count("a part of the race") == 3
    (aims,) = [line for line in page.splitlines() if line.startswith("| 1/4, no loss |")]
    assert aims.count(" so far**: ") == 3 and aims.count("**: ") == 4  # one race is whole


def test_a_table_has_the_times_of_a_search_where_they_are_recorded(tmp_path: Path) -> None:
    timed = {"milliseconds": 1.234, "search_bytes": 56_700}
    label = next(iter(REFERENCES))
    race(
        tmp_path,
        "a|b",
        finish(label, rounded_from=pack_ranks(RANKS), **timed),
        finish("tied, int8", 4, 0.3, outside=None),
    )
    page = to_markdown(read_races(tmp_path))
    assert (
        f"| {label} | 800 | +0.0 % [+0.0, +0.0] | as good | 0.200 | 0.050 | 9 s | 1.23 ms | 57"
        in page
    )
    assert "| worse | 0.200 |  | 9 s |\n" in page  # this table has no times
    assert (
        "int8 leaves 25.0 % of its bytes and changes its NDCG@10 by +0.0 % [+0.0, +0.0] (as good)."
        in page
    )
    assert r"## a\|b" in page


def test_a_race_with_distillation_is_apart(tmp_path: Path) -> None:
    race(tmp_path, "one", finish("tied, int8", 4), distillation=0.5)
    page = to_markdown(read_races(tmp_path))
    assert "This race counts for no aim." in page
    assert "## one, with distillation 0.5" in page and "aims came out" not in page


def test_what_a_record_lacks_is_said(tmp_path: Path) -> None:
    """No target lies outside the head, and no racer keeps the other budgets."""
    race(
        tmp_path,
        "one",
        finish("tied, int8", 4),
        finishes=[finish(BASE, bytes=3200, outside=None), finish("tied, int8", 4, outside=None)],
    )
    page = to_markdown(read_races(tmp_path))
    assert "an unknown share of the test items lie outside the head" in page and "nan" not in page
