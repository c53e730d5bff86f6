"""The page of claims: what it shows is what the results say."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cprec_lib.evidence import claims_page
from cprec_lib.evidence.claims import Part, judge_claims
from cprec_lib.evidence.claims_page import to_markdown
from cprec_lib.evidence.settings import TUNED
from tests.evidence.test_claims import BAD, GOOD, MIDDLING, ROOT, results, write_run

__all__ = ["results"]


def page(folder: Path) -> str:
    return to_markdown(judge_claims(folder))


def test_the_committed_page_is_what_the_results_say() -> None:
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == page(ROOT / "results"), (
        "run `cprec claims`"
    )


def test_its_pictures_are_there() -> None:
    shown = re.findall(r"\]\(([^)]+\.png)\)", (ROOT / "docs" / "claims.md").read_text("utf-8"))
    assert shown and all((ROOT / "docs" / path).is_file() for path in shown)


def test_its_commands_name_settings_and_groups_that_exist() -> None:
    from cprec_lib.evidence.settings import TUNED
    from cprec_lib.evidence.variants import GROUPS

    commands = re.findall(r"Recorded by: `cprec reproduce ([^`]+)`", page(ROOT / "results"))
    named = [re.fullmatch(r"([a-z ]+) --setting (\S+)", each) for each in commands]
    found = [match for match in named if match]
    assert len(found) == 5
    for match in found:
        assert {*match[1].split()} <= {*GROUPS} and match[2] in TUNED


def test_a_counted_comparison_has_its_row(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING, parameters=300)
    write_run(results, "cprec", BAD)
    text = page(results)
    (row,) = [line for line in text.splitlines() if "against NextItNet |" in line]
    assert re.match(
        r"\| a, width 64, fixed rates \| CpRec \(3\.0 times smaller\) against NextItNet \| -\d", row
    )
    assert row.endswith("| worse | 2 and 2 | 200 |")
    assert "| **fails on a** |" in text
    assert "| 0.003 (0.001, 0.003, 0.01) | 0.3 (0.1, 0.3, 0.5) | 7, 7 | 2, cpu |" in text


def test_it_says_why_a_comparison_does_not_count(results: Path) -> None:
    for key in ("nextitnet", "cprec"):
        write_run(results, key, MIDDLING)
        (results / "records" / "a" / f"{key}-5.json").unlink()
    section = page(results).split("## C4")[1].split("## C5")[0]
    assert "Not counted, because no variant of the setting has a second seed (1)." in section


def test_it_says_what_would_decide(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "cprec", np.where(np.arange(200) % 5 < 2, GOOD, BAD))  # users differ widely
    _, _, advice = page(results).split("## C4")[1].partition("What would decide:\n\n")
    assert re.match(
        r"- a, width 64, fixed rates, CpRec against NextItNet: about \d+\.\d times as many", advice
    )


def test_another_log_is_advised_until_all_real_ones_count(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variant, rank in (("nextitnet", MIDDLING), ("cprec", BAD)):
        write_run(results, variant, rank, "ml-100k")
    _, _, advice = page(results).split("## C4")[1].partition("What would decide:\n\n")
    assert "another log" in advice and "--setting ml-1m-w64`" in advice.splitlines()[0]
    for left in (["ml-100k-w64"], ["ml-100k-w64", "tail-5-w64"]):  # made-up logs decide no claim
        monkeypatch.setattr(claims_page, "TUNED", {name: TUNED[name] for name in left})
        assert "another log" not in page(results)


def test_a_comparison_of_two_parts_shows_the_answer_that_makes_the_verdict(results: Path) -> None:
    for variant, rank in (("nextitnet", MIDDLING), ("cprec", GOOD)):
        write_run(results, variant, rank)
    (claim,) = (each for each in judge_claims(results) if each.claim == "C4")
    (found,) = claim.parts[0].findings
    more = Part("alone", [replace(found, answer="worse")], judges=False)
    shown = to_markdown([replace(claim, parts=(claim.parts[0], more))])
    (row,) = [line for line in shown.splitlines() if "against NextItNet |" in line]
    assert "| as good |" in row


def test_a_margin_that_changes_the_answer_is_shown(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    slightly = np.full(200, MIDDLING)
    slightly[3:45] = 6  # a loss of less than two percent, and of more than one
    write_run(results, "cprec", slightly)
    (row,) = [line for line in page(results).splitlines() if "against NextItNet |" in line]
    assert "| as good (1%: worse) |" in row


def test_the_name_of_a_log_is_text_on_the_page(results: Path) -> None:
    for key, rank in (("nextitnet", MIDDLING), ("cprec", GOOD)):
        write_run(results, key, rank, dataset="a|b *c* $\\frac{$ <i>\x1b[31m")
    (row,) = [line for line in page(results).splitlines() if "against NextItNet |" in line]
    assert row.startswith(r"| a\|b \*c\* \$\\frac\{\$ \<i\>?\[31m, width 64, fixed rates |")
