"""Forest plots: a row for each comparison, hollow where it does not count."""

import math
from dataclasses import replace
from pathlib import Path

from cprec_lib.course import figures
from cprec_lib.evidence.claims import judge_claims
from cprec_lib.evidence.statistics import Difference
from tests.evidence.test_claims import BAD, GOOD, MIDDLING, results, write_run

__all__ = ["results"]


def test_a_row_for_each_comparison_with_its_answer(results: Path) -> None:
    for folder, rank in (("a", GOOD), ("b", BAD)):
        write_run(results, "nextitnet", MIDDLING, folder)
        write_run(results, "cprec", rank, folder)
    (results / "records" / "b" / "cprec-5.json").unlink()
    (results / "records" / "b" / "nextitnet-5.json").unlink()
    claim = judge_claims(results)[3]
    panel, *_ = figures.forest(claim.parts).axes
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ["a, width 64, fixed rates", "b, width 64, fixed rates"]
    notes = [text.get_text() for text in panel.texts]
    assert notes == ["as good; 2+2 seeds, 200 users", "not counted; 1+1 seeds, 200 users"]
    dots = [line.get_markerfacecolor() for line in panel.lines if line.get_marker() == "o"]
    assert dots[1] == "white" != dots[0]


def test_the_axis_holds_every_interval_up_to_the_widest_ends(results: Path) -> None:
    for key, rank in (("nextitnet", MIDDLING), ("cprec", GOOD)):
        write_run(results, key, rank)
    part = judge_claims(results)[3].parts[0]
    for error, ends in ((0.001, (-5, 5)), (0.05, (-15, 10)), (9, (-40, 30))):
        gap = Difference(-0.01, 1.0, error**2, 0.0, math.inf)
        comparison = replace(part.findings[0].comparison, difference=gap)
        findings = [replace(part.findings[0], comparison=comparison)]
        (panel,) = figures.forest([replace(part, findings=findings)]).axes
        assert panel.get_xlim() == ends


def test_a_row_names_the_variant_if_the_panel_has_several(results: Path) -> None:
    for key in ("nextitnet", "cprec", "cprec-quarter"):
        write_run(results, key, MIDDLING, parameters=9 if key == "nextitnet" else 1)
    (panel,) = figures.forest(judge_claims(results)[3].parts[1:2]).axes
    names = [label.get_text() for label in panel.get_yticklabels()]
    variants = ("CpRec", "CpRec, a quarter")
    assert names == [f"a, width 64, fixed rates: {variant}" for variant in variants]


def test_a_dot_for_each_seed() -> None:
    (axes,) = figures.seeds({"A": [0.1, 0.2, 0.3], "B": [0.2]}, "NDCG@10", "Seeds").axes
    assert [len(line.get_xdata()) for line in axes.lines] == [3, 1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", "B"]
