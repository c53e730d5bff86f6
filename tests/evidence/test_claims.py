"""The claims: verdicts follow from results, and the page follows from the verdicts."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cprec_lib.evidence.claims import Claim, judge_claims, to_markdown
from cprec_lib.evidence.records import pack_ranks, read_record, write_result
from cprec_lib.evidence.variants import VARIANTS
from cprec_lib.train.evaluation import Ranks
from tests.evidence.samples import record

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = [f"C{number}" for number in range(1, 10)]
LONG_TAIL = (ROOT / "results" / "longtail.json").read_text(encoding="utf-8")
GOOD, MIDDLING, BAD = 1, 5, 99


def write_run(
    results: Path, variant: str, rank: int | np.ndarray, folder: str = "a", **more: Any
) -> None:
    """A record in which most of 200 users' targets have one rank."""
    ranks = np.full(200, rank)
    ranks[::7] = MIDDLING  # so that an interval has a width
    config = {"width": VARIANTS[variant].width or 64, "dropout": 0.3}
    whole = record(variant, ranks, **{"dataset": folder, "model_config": config, **more})
    write_result(results / "runs" / folder / f"{variant}.json", whole)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "longtail.json").write_text(LONG_TAIL, encoding="utf-8")
    return tmp_path


def judged(results: Path) -> dict[str, Claim]:
    claims = judge_claims(results)
    assert [claim.claim for claim in claims] == CLAIMS
    return {claim.claim: claim for claim in claims}


def test_a_model_that_lacks_a_learning_rate_is_not_judged(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "cprec", BAD)
    assert judged(results)["C4"].evidence
    higher = {"train_config": {"learning_rate": 0.02}, "valid": {"ndcg@10": 0.2}}
    run = read_record(results / "runs" / "a" / "cprec.json")
    write_result(results / "runs" / "a" / "cprec-higher.json", {**run, **higher})
    with pytest.warns(
        UserWarning, match=r"^a: .* not judged.* lacks one .* rates 0\.02 .*: nextitnet$"
    ):
        assert not judged(results)["C4"].evidence
    run = read_record(results / "runs" / "a" / "nextitnet.json")
    write_result(results / "runs" / "a" / "nextitnet-higher.json", {**run, **higher})
    assert judged(results)["C4"].evidence


def test_a_variant_that_is_not_known_is_refused(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    run = read_record(results / "runs" / "a" / "nextitnet.json")
    write_result(results / "runs" / "a" / "other.json", {**run, "variant": "martian"})
    with pytest.raises(ValueError, match=r"runs.a holds runs of martian, which this version"):
        judge_claims(results)


def test_without_runs_a_claim_is_open(results: Path) -> None:
    claims = judged(results)
    assert {claims[claim].verdict for claim in ("C2", "C4", "C5", "C6", "C7", "C8", "C9")} == {
        "open"
    }
    assert claims["C3"].verdict == "holds in part"


@pytest.mark.parametrize(
    ("compressed", "verdict"),
    [(BAD, "does not hold"), (GOOD, "holds"), (MIDDLING, "holds")],
)
def test_accuracy(compressed: int, verdict: str, results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "cprec", compressed)
    claim = judged(results)["C4"]
    assert claim.verdict == verdict
    users, _, records = claim.evidence[0].made.partition("; ")
    assert users == "1 seed, 200 users, cpu"
    assert records == "`a`: `cprec-lr0.01-d0.3-s0`, `nextitnet-lr0.01-d0.3-s0`"


WIDE, WIDEST, DEEP = "nextitnet-w128", "nextitnet-w512", "nextitnet-depth-8"


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        ({}, "open"),
        ({WIDE: MIDDLING}, "open"),
        ({WIDE: GOOD}, "holds in part"),
        ({WIDE: GOOD, DEEP: GOOD}, "holds"),
        ({WIDEST: MIDDLING}, "open"),
        ({WIDE: GOOD, WIDEST: MIDDLING, DEEP: BAD}, "holds in part"),
    ],
)
def test_width_and_depth(runs: dict[str, int], verdict: str, results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    for model, rank in runs.items():
        write_run(results, model, rank)
    claim = judged(results)["C2"]
    assert claim.verdict == verdict
    assert len(claim.evidence) == len(runs)


def test_a_wide_baseline_is_compared_with_the_narrow_one(results: Path) -> None:
    write_run(results, "nextitnet", GOOD, model_config={"width": 128, "dropout": 0.3})
    write_run(results, "nextitnet-w64", MIDDLING)
    claim = judged(results)["C2"]
    assert claim.verdict == "holds in part"
    assert [each.what for each in claim.evidence] == [
        "test NDCG@10 of NextItNet against NextItNet, width 64"
    ]
    assert claim.evidence[0].where == "a, width 128"


@pytest.mark.parametrize(
    ("deep", "elsewhere", "verdict"),
    [
        (BAD, MIDDLING, "does not hold"),
        (GOOD, MIDDLING, "holds in part"),
        (BAD, GOOD, "holds in part"),
    ],
)
def test_one_data_set_does_not_decide_against_width(
    deep: int, elsewhere: int, verdict: str, results: Path
) -> None:
    for model, rank in {"nextitnet": MIDDLING, WIDEST: MIDDLING, DEEP: deep}.items():
        write_run(results, model, rank)
    write_run(results, WIDEST, MIDDLING, "same-data", dataset="a")
    write_run(results, "nextitnet", MIDDLING, "same-data", dataset="a")
    assert judged(results)["C2"].verdict == "open"
    write_run(results, "nextitnet", MIDDLING, "b")
    write_run(results, WIDEST, elsewhere, "b")
    claim = judged(results)["C2"]
    assert claim.verdict == verdict
    assert "Width 512 is recorded on a, b." in claim.because


def test_an_undecided_data_set_keeps_width_open(results: Path) -> None:
    noisy = np.where(np.arange(200) % 2 == 0, 1, 99)  # wins about a third, or half of that
    for folder, rank in {"a": MIDDLING, "b": noisy}.items():
        write_run(results, "nextitnet", MIDDLING, folder)
        write_run(results, WIDEST, rank, folder)
    claim = judged(results)["C2"]
    assert "Width 512 is recorded on a, b." in claim.because
    assert claim.verdict == "open"


def test_a_narrow_baseline_is_no_growth(results: Path) -> None:
    write_run(results, "nextitnet", BAD, model_config={"width": 32, "dropout": 0.3})
    write_run(results, "nextitnet-w64", MIDDLING)
    claim = judged(results)["C2"]
    assert (claim.verdict, claim.evidence) == ("open", ())


def test_given_sizes_are_told_but_do_not_judge(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "cprec", GOOD)
    write_run(results, "cprec-eighth", BAD, parameters=12)
    write_run(results, "cprec-cut-5-20", GOOD, parameters=25)
    write_run(results, "cprec-cut-2-10", BAD, parameters=26)
    write_run(results, "nextitnet-eighth", GOOD, parameters=12)
    claim = judged(results)["C4"]
    assert claim.verdict == "holds"
    assert "with several cuts and widths, are worse in 1 and as good in 1." in claim.because
    assert len(claim.evidence) == 5
    what = [each.what for each in claim.evidence]
    assert "test NDCG@10 of CpRec, an eighth (8.3 times smaller) against NextItNet" in what


def test_what_the_interval_leaves_open_is_not_called_as_good(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    noisy = np.where(np.arange(200) % 5 < 2, 1, 99)  # its mean is close, users differ widely
    write_run(
        results,
        "cprec",
        MIDDLING,
        test_ranks=pack_ranks(noisy),
        test=Ranks(noisy).metrics(),
    )
    claim = judged(results)["C4"]
    assert claim.verdict == "open"
    assert "not decided in 1" in claim.because


def test_one_loss_in_three_settings_holds_in_part(results: Path) -> None:
    for folder, rank in (("a", GOOD), ("b", GOOD), ("c", BAD)):
        write_run(results, "nextitnet", MIDDLING, folder)
        write_run(results, "cprec", rank, folder)
    assert judged(results)["C4"].verdict == "holds in part"


def write_times(results: Path, baseline: float, compressed: float, early: float) -> None:
    """A race of three rounds, in which the second was disturbed."""

    def rounds(time: float) -> list[float]:
        return [time, 10 * time, time]

    models = {"nextitnet": rounds(baseline), "cprec": rounds(compressed)}
    times: dict[str, Any] = {"training_step": models}
    for users in (1, 64):
        times |= {f"exact_{users}": models, f"early_stopping_{users}": {"cprec": rounds(early)}}
    result = record("cprec") | {"width": 8, "batch_size": 32, "precision": "float32"}
    result["milliseconds"] = times
    write_result(results / "time" / "toy.json", result)


@pytest.mark.parametrize(("time", "verdict"), [(1.0, "holds"), (2.0, "does not hold")])
def test_time(time: float, verdict: str, results: Path) -> None:
    write_times(results, 2.0, time, time)
    claims = judged(results)
    for claim in ("C5", "C6"):
        assert claims[claim].verdict == verdict
        ratio = f"{2 / time:.1f}"
        assert claims[claim].evidence[0].found == f"{ratio} times as fast ({ratio} to {ratio})"


def test_the_early_stopping_rule_is_compared_with_the_full_search(results: Path) -> None:
    write_times(results, 4.0, 4.0, 1.0)
    claim = judged(results)["C6"]
    assert [line.found.split()[0] for line in claim.evidence] == ["1.0", "4.0", "1.0", "4.0"]
    assert claim.verdict == "holds in part"


@pytest.mark.parametrize(
    ("flat", "tree", "verdict"),
    [(BAD, MIDDLING, "holds"), (BAD, BAD, "does not hold"), (MIDDLING, MIDDLING, "open")],
)
def test_flat_against_tree(flat: int, tree: int, verdict: str, results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "flat-softmax", flat)
    write_run(results, "softmax-only", tree)
    assert judged(results)["C7"].verdict == verdict


@pytest.mark.parametrize(
    ("every_layer", "schemes", "verdict"),
    [(BAD, MIDDLING, "holds"), (MIDDLING, BAD, "does not hold"), (MIDDLING, MIDDLING, "open")],
)
def test_sharing(every_layer: int, schemes: int, verdict: str, results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "sharing-cross-layer", every_layer)
    for scheme in ("cross-block", "adjacent-layer", "adjacent-block"):
        write_run(results, f"sharing-{scheme}", schemes)
    assert judged(results)["C8"].verdict == verdict


@pytest.mark.parametrize(
    ("gru", "attention", "verdict"),
    [
        (GOOD, MIDDLING, "holds"),
        (BAD, BAD, "holds in part"),
        (BAD, GOOD, "holds in part"),
        (GOOD, None, "open"),
        (None, None, "open"),
    ],
)
def test_other_fillings(
    gru: int | None, attention: int | None, verdict: str, results: Path
) -> None:
    for name, rank in (("gru4rec", gru), ("sasrec", attention)):
        write_run(results, name, MIDDLING)
        if rank is not None:
            write_run(results, f"{name}-compressed", rank)
    claim = judged(results)["C9"]
    assert claim.verdict == verdict
    assert len(claim.evidence) == (gru is not None) + (attention is not None)
    assert ("No other middle layer" in claim.because) == (gru is None)


def test_a_damaged_result_is_refused(results: Path) -> None:
    write_run(results, "nextitnet", GOOD)
    (path,) = results.glob("runs/a/*.json")
    path.write_text(path.read_text().replace("2.13.0", "2.12.0"))
    with pytest.raises(ValueError, match="edited or cut short"):
        judge_claims(results)


def test_the_committed_page_is_what_the_results_say() -> None:
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert page == to_markdown(judge_claims(ROOT / "results")), "run `cprec claims`"


def test_the_readme_shows_todays_verdicts() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for each in judge_claims(ROOT / "results"):
        assert f"| {each.claim} | {each.says} | {each.verdict} |" in readme


def test_the_page_names_records_that_are_there() -> None:
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    named = re.findall(r"; `([^`]+)`: `([^`]+)`, `([^`]+)` \|", page)
    assert len(named) > 20
    for folder, *records in named:
        for each in records:
            assert (ROOT / "results" / "runs" / folder / f"{each}.json").is_file()


def test_the_name_of_a_log_is_text_on_the_page(results: Path) -> None:
    for key, rank in (("nextitnet", MIDDLING), ("cprec", GOOD)):
        write_run(results, key, rank, dataset="a|b *c* $\\frac{$ <i>\x1b[31m")
    page = to_markdown(judge_claims(results))
    (row,) = [line for line in page.splitlines() if "against NextItNet" in line]
    assert row.startswith(r"| a\|b \*c\* \$\\frac\{\$ \<i\>?\[31m, width 64 |")
