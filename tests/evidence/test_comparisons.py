"""Comparisons: what counts, what does not and why, and what would decide."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cprec_lib.evidence.claims import GAIN
from cprec_lib.evidence.comparisons import Asked, Comparison, Finding, Recorded, find, together
from cprec_lib.evidence.records import write_result
from cprec_lib.evidence.statistics import AS_GOOD, BETTER, Difference
from tests.evidence.samples import record

SPREAD = np.arange(1, 41)


def made(scores: dict[tuple[float, float], float], folder: str = "a", **more: Any) -> Recorded:
    """One variant, NextItNet, with a trial for each (rate, dropout) and its validation score."""
    runs = [
        record(
            "nextitnet",
            SPREAD,
            train_config={"learning_rate": rate, "epochs": 9},
            model_config={"width": 64, "dropout": dropout},
            valid={"ndcg@10": score},
            **{"epochs": 5, **more},
        )
        for (rate, dropout), score in scores.items()
    ]
    best = max(runs, key=lambda run: run["valid"]["ndcg@10"])
    return Recorded(folder, {"nextitnet": runs}, {"nextitnet": [best]})


INSIDE = {(0.01, 0.3): 3.0, (0.001, 0.3): 1.0, (0.1, 0.3): 1.0, (0.01, 0.1): 2.0, (0.01, 0.5): 2.0}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({(0.1, 0.3): 4.0}, "the best learning rate is at the edge of those tried"),
        ({(0.01, 0.5): 4.0}, "the best dropout is at the edge of those tried"),
        ({(0.01, 0.0): 4.0}, None),  # no dropout is smaller than none
    ],
)
def test_a_best_trial_lies_inside(changed: dict[Any, float], reason: str | None) -> None:
    assert made(INSIDE | changed).untuned("nextitnet") == reason


def test_training_that_had_to_end_is_a_flaw() -> None:
    assert "largest number of epochs" in str(made(INSIDE, epochs=9).untuned("nextitnet"))


def test_a_tuned_setting_needs_all_its_trials() -> None:
    assert made(INSIDE, "ml-100k-w64").untuned("nextitnet") == "the tuning is not complete"


def test_a_folder_is_read_with_its_trials_and_its_seeds(tmp_path: Path) -> None:
    for number, seed in enumerate((0, 1)):
        run = record("cprec", SPREAD, seed=seed, train_config={"learning_rate": 0.1, "seed": seed})
        write_result(tmp_path / f"{number}.json", run)
    recorded = Recorded.read(tmp_path)
    assert [len(recorded.runs["cprec"]), len(recorded.trials["cprec"])] == [2, 2]
    assert recorded.tables["cprec"].shape == (2, 40)
    assert recorded.folder == tmp_path.name


def test_runs_of_another_setting_join_under_a_new_key() -> None:
    wide, narrow = made(INSIDE, "wide"), made(INSIDE, "narrow")
    joined = wide.joined(narrow, {"nextitnet": "nextitnet-w64"})
    assert joined.has("nextitnet", "nextitnet-w64") and joined.folder == "wide"
    assert not wide.has("nextitnet-w64")


def test_a_made_up_log_is_known_by_its_setting() -> None:
    log = made(INSIDE, "tail-70-w64").synthetic
    assert log is not None and log.zipf == 0.49
    assert made(INSIDE, "ml-100k-w64").synthetic is None


def finding(estimate: float, error: float, of_users: float, *flaws: str) -> Comparison:
    runs = made(INSIDE)
    gap = Difference(estimate, 1.0, of_users * error**2, (1 - of_users) * error**2, math.inf)
    return Comparison(runs, "nextitnet", "nextitnet", gap, flaws)


def test_what_does_not_count_is_not_judged_and_costs_the_others_nothing() -> None:
    slight, flawed = finding(-0.021, 0.01, 0.5), finding(0.0, 0.05, 0.5, "one seed")
    (found,) = find(Asked([slight, *[flawed] * 9]))
    assert [each.answer for each in found] == ["worse", *["not counted"] * 9]
    assert [each.supports for each in found] == [False, *[None] * 9]


def test_an_answer_may_support_a_claim_either_way() -> None:
    found = find(
        Asked([finding(-0.1, 0.01, 0.5)], AS_GOOD, supporting="worse"),
        Asked([finding(0.1, 0.01, 0.5)], BETTER),
        Asked([finding(-0.01, 0.02, 0.5)]),
    )
    assert [each.supports for (each,) in found] == [True, True, None]


def test_the_questions_of_a_claim_are_corrected_together() -> None:
    slight = finding(-0.021, 0.01, 0.5)
    ((alone,),) = find(Asked([slight]))
    (one,), (other,) = find(Asked([slight]), Asked([finding(0.01, 0.01, 0.5)], BETTER))
    assert [alone.answer, one.answer, other.answer] == ["worse", "undecided", "undecided"]
    assert [alone.together, one.together, other.together] == [1, 2, 2]


def test_other_margins_are_corrected_too_and_fit_the_question() -> None:
    worse = finding(-0.021, 0.01, 0.5)  # alone it is worse than 0 by two standard errors
    ((alone,),) = find(Asked([worse]))
    assert alone.others == {0.01: "worse", 0.05: "as good"}
    ((one, _),) = find(Asked([worse, worse]))
    assert one.others == {0.01: "undecided", 0.05: "as good"}
    ((better,),) = find(Asked([finding(0.025, 0.01, 0.5)], BETTER))
    assert better.others == {0.01: "better", 0.05: "better"}
    ((gain,),) = find(Asked([finding(0.3, 0.01, 0.5)], GAIN))
    assert gain.others == {0.01: gain.answer, 0.05: gain.answer}


def test_only_the_tested_users_are_counted() -> None:
    runs = {"cprec": [record("cprec", [1, 5, 11])]}
    of_all = Recorded("a", {}, {"cprec": [{**runs["cprec"][0], "n_users": 943}]})
    gap = Difference(-0.05, 1.0, 1e-4, 1e-4, 9.0)
    assert Comparison(of_all, "cprec", "cprec", gap, ()).users == 3


@pytest.mark.parametrize(
    ("of_users", "advice"),
    [
        (0.1, "about 3 seeds of each variant"),
        (0.9, "about 2.3 times as many users, so another log, not more seeds"),
    ],
)
def test_what_would_decide(of_users: float, advice: str) -> None:
    one = Finding(finding(-0.03, 0.022, of_users), AS_GOOD, "undecided", None)
    assert one.decided_by() == advice


@pytest.mark.parametrize(
    ("parts", "whole"),
    [([True, True], True), ([True, None], None), ([None, False], False), ([True, False], False)],
)
def test_a_claim_needs_all_its_parts(parts: list[bool | None], whole: bool | None) -> None:
    assert together(parts) is whole
