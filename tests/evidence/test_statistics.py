"""Statistics: intervals hold the truth as often as they say; made-up tables get their verdict."""

import math

import numpy as np
import pytest

from cprec_lib.evidence.statistics import (
    AS_GOOD,
    BETTER,
    Difference,
    carried,
    difference,
    difference_over_users,
    holm,
    judge,
    judge_together,
    needed,
    speed_up,
    student_cdf,
    student_quantile,
    verdict,
)

USERS, VARIANTS = 100, 4


def tables(
    draw: np.random.Generator, seeds: int, spread: float = 0.01, rest: float = 0.15
) -> dict[str, np.ndarray]:
    """Four variants that differ by chance alone: users, their tastes, seeds and a rest."""
    shape = (VARIANTS, seeds, USERS)
    values = 0.5 + draw.normal(0, 0.1, (1, 1, USERS)) + draw.normal(0, 0.05, (VARIANTS, 1, USERS))
    values = values + draw.normal(0, spread, (VARIANTS, seeds, 1)) + draw.normal(0, rest, shape)
    return dict(zip("abcd", values, strict=True))


# ---- Rule 1 ----


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_95_percent_intervals_hold_the_truth_in_93_to_97_percent(seeds: int) -> None:
    draw = np.random.default_rng(seeds)
    found = [difference(tables(draw, seeds), "a", "b") for _ in range(2000)]
    # The interval holds zero exactly if neither one-sided test rejects it at half the level.
    held = [0.025 < each.chance_above(0) < 0.975 for each in found]
    assert 0.93 <= np.mean(held) <= 0.97
    for each, inside in zip(found[:20], held, strict=False):
        low, high = each.interval()
        assert (low < 0 < high) == inside


def test_intervals_hold_the_truth_where_users_find_or_miss() -> None:
    draw, held = np.random.default_rng(0), []
    for _ in range(1000):
        chance = draw.beta(0.3, 1.5, (1, 1, 300))  # most users are hard for every variant
        tilt = draw.normal(1, 0.1, (3, 3, 1))
        hits = (draw.random((3, 3, 300)) < chance * tilt).astype(float)
        found = difference(dict(zip("abc", hits, strict=True)), "a", "b")
        held.append(0.025 < found.chance_above(0) < 0.975)
    assert 0.93 <= np.mean(held) <= 0.97


def test_users_alone_would_claim_too_much() -> None:
    draw = np.random.default_rng(1)
    held = []
    for _ in range(500):
        made = tables(draw, 2, spread=0.05)
        gaps = made["a"].mean(0) - made["b"].mean(0)
        held.append(abs(gaps.mean()) < 1.96 * gaps.std(ddof=1) / math.sqrt(USERS))
    assert np.mean(held) < 0.6  # what an interval over users only gives


def test_seeds_are_pooled_over_the_variants_of_the_setting() -> None:
    draw = np.random.default_rng(2)
    many = tables(draw, 2, spread=0.05)
    two = {name: many[name] for name in "ab"}
    assert difference(many, "a", "b").estimate == difference(two, "a", "b").estimate
    assert difference(many, "a", "b").freedom > difference(two, "a", "b").freedom
    single = {**many, "a": many["a"][:1]}  # one seed, but the others tell how much seeds differ
    assert difference(single, "a", "b").of_seeds > difference(many, "a", "b").of_seeds * 0.9


def test_what_allows_no_interval_is_refused() -> None:
    one = {"a": np.ones((1, 5)), "b": np.ones((1, 5))}
    with pytest.raises(ValueError, match="no variant has two seeds"):
        difference(one, "a", "b")
    with pytest.raises(ValueError, match="users cannot be paired"):
        difference({"a": np.ones((2, 5)), "b": np.ones((2, 6))}, "a", "b")


def test_equal_tables_have_no_error() -> None:
    same = {"a": np.ones((2, 5)), "b": np.ones((2, 5))}
    found = difference(same, "a", "b")
    assert (found.estimate, found.error, found.interval()) == (0, 0, (0, 0))
    assert judge(found) == "as good" and judge_together([found]) == ["as good"]


# ---- Rules 2 and 3 ----


def made(estimate: float, error: float, baseline: float = 1.0) -> Difference:
    return Difference(estimate, baseline, error**2 / 2, error**2 / 2, math.inf)


@pytest.mark.parametrize(
    ("estimate", "error", "judgement"),
    [
        (0.0, 0.005, "as good"),
        (0.03, 0.02, "as good"),  # from -0.9 % up
        (-0.009, 0.004, "as good"),  # surely lower, and surely by less than the margin
        (-0.03, 0.01, "worse"),
        (-0.03, 0.02, "undecided"),
        (0.0, 0.02, "undecided"),
    ],
)
def test_a_judgement_compares_the_interval_with_margin_and_zero(
    estimate: float, error: float, judgement: str
) -> None:
    assert judge(made(estimate, error)) == judgement
    assert judge(made(2 * estimate, 2 * error, baseline=2.0)) == judgement
    assert judge_together([made(estimate, error)]) == [judgement]


def test_a_wider_margin_forgives_more() -> None:
    found = made(-0.03, 0.005)
    judged = [judge(found, AS_GOOD.at(margin)) for margin in (0.01, 0.02, 0.05)]
    assert judged == ["worse", "worse", "as good"]


@pytest.mark.parametrize(
    ("estimate", "error", "answer"),
    [(0.01, 0.004, "better"), (-0.01, 0.004, "not better"), (0.01, 0.01, "undecided")],
)
def test_another_question_has_other_bounds(estimate: float, error: float, answer: str) -> None:
    assert judge(made(estimate, error), BETTER) == answer
    assert judge_together([made(estimate, error)] * 2, BETTER) == [answer] * 2


def test_without_repeated_seeds_the_users_alone_give_an_interval() -> None:
    draw = np.random.default_rng(4)
    one = tables(draw, 1)
    found = difference_over_users(one, "a", "b")
    gaps = one["a"][0] - one["b"][0]
    assert found.estimate == pytest.approx(gaps.mean())
    assert found.error == pytest.approx(gaps.std(ddof=1) / 10)
    assert found.baseline == pytest.approx(one["b"].mean())


def test_what_would_decide_decides() -> None:
    found = made(-0.01, 0.02)
    times = needed(found)
    assert times.seeds is None  # the users' part alone is too large
    assert times.users is None  # and the seeds' part as well
    found = Difference(-0.03, 1.0, 0.01**2, 0.02**2, math.inf)
    more = needed(found).seeds
    assert judge(found) == "undecided" and more is not None and more > 1
    for factor, judgement in ((0.95, "undecided"), (1.05, "worse")):
        repeated = Difference(-0.03, 1.0, 0.01**2, 0.02**2 / (factor * more), math.inf)
        assert judge(repeated) == judgement
    assert needed(made(-0.03, 0.01)).seeds == 1  # decided already


def test_what_would_decide_several_at_once_decides_all() -> None:
    def repeated(factor: float) -> Difference:
        return Difference(-0.03, 1.0, 0.0, 0.02**2 / factor, math.inf)

    more = needed(repeated(1), tests=3).seeds
    assert more is not None and more > needed(repeated(1)).seeds
    for factor, answer in ((0.95, "undecided"), (1.05, "worse")):
        assert judge_together([repeated(factor * more)] * 3) == [answer] * 3


@pytest.mark.parametrize(("of_users", "of_seeds"), [(1e-4, 0.0), (0.0, 1e-4), (1e-4, 5e-5)])
def test_more_seeds_and_more_users_both_reduce_what_neither_explains(
    of_users: float, of_seeds: float
) -> None:
    def repeated(seeds: float, users: float) -> Difference:
        both = 4e-4 / (seeds * users)
        return Difference(-0.03, 1.0, of_users / users, of_seeds / seeds, math.inf, both)

    more = needed(repeated(1, 1))
    assert judge(repeated(1, 1)) == "undecided"
    assert more.seeds is not None and more.users is not None
    for factor, answer in ((0.95, "undecided"), (1.05, "worse")):
        assert judge(repeated(factor * more.seeds, 1)) == answer
        assert judge(repeated(1, factor * more.users)) == answer


def test_the_parts_of_the_error_are_what_the_tables_were_made_of() -> None:
    draw = np.random.default_rng(5)
    parts = np.mean(
        [
            (found.of_users, found.of_seeds, found.of_both)
            for found in (difference(tables(draw, 5, spread=0.02), "a", "b") for _ in range(300))
        ],
        axis=0,
    )
    users, seeds, both = 2 * 0.05**2 / USERS, 2 / 5 * 0.02**2, 2 / 5 * 0.15**2 / USERS
    assert parts == pytest.approx([users, seeds, both], rel=0.1)


def test_holm_multiplies_by_what_is_left() -> None:
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_one_of_many_settings_needs_more_to_be_decided() -> None:
    slight, clear = made(-0.021, 0.01), made(-0.1, 0.01)
    undecided = made(0.0, 0.05)
    assert judge_together([slight]) == ["worse"]
    assert judge_together([slight, undecided]) == ["undecided"] * 2
    assert judge_together([slight, clear]) == ["worse", "worse"]  # one is left


def test_chance_alone_rarely_decides_any_of_ten_settings() -> None:
    draw, wrong = np.random.default_rng(3), 0
    for _ in range(1000):
        found = [made(float(draw.normal(0, 0.05)), 0.05) for _ in range(10)]
        wrong += "worse" in judge_together(found)  # the truth is zero everywhere
    assert wrong / 1000 < 0.04


@pytest.mark.parametrize(
    ("judged", "says"),
    [
        ([], "open"),
        ([("a", None), ("b", None)], "open"),
        ([("a", True)], "holds on a"),
        ([("a", False), ("b", None)], "fails on a"),
        ([("a", True), ("a", True)], "holds on a"),  # two settings, one log
        ([("a", True), ("b", True), ("c", None)], "holds"),
        ([("a", False), ("b", False)], "does not hold"),
        ([("a", True), ("b", False)], "holds on a, fails on b"),
        ([("a", True), ("b", True), ("c", False)], "holds on a and b, fails on c"),
        ([("a", True), ("a", False)], "open"),  # a log that contradicts itself
    ],
)
def test_a_verdict_takes_two_logs(judged: list, says: str) -> None:
    assert verdict(judged) == says


# ---- Student's t and times ----


@pytest.mark.parametrize(
    ("freedom", "quantile"),  # of printed tables
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (10, 2.2281), (30, 2.0423), (1e6, 1.96)],
)
def test_students_t_is_that_of_the_tables(freedom: float, quantile: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, abs=1e-4)
    assert student_cdf(quantile, freedom) == pytest.approx(0.975, abs=1e-5)
    assert student_cdf(-quantile, freedom) == pytest.approx(0.025, abs=1e-5)
    with pytest.raises(ValueError, match="not in"):
        student_quantile(0.2, freedom)


def test_a_speed_up_compares_rounds_not_means() -> None:
    times = {"slow": [4.0, 40.0, 6.0], "fast": [1.0, 20.0, 2.0]}
    assert speed_up(times, "fast", "slow") == (3.0, 2.0, 4.0)


def test_a_rate_is_carried_if_it_was_reached_in_time_without_errors() -> None:
    fine = {"asked": 100, "reached": 99, "p90": 8, "errors": 0}
    slow, late = {**fine, "asked": 200, "reached": 150}, {**fine, "asked": 300, "p90": 60}
    wrong = {**fine, "asked": 400, "reached": 400, "errors": 1}
    assert carried([fine, slow, late, wrong], limit=50) == 100
    assert carried([fine], limit=5) == 0
