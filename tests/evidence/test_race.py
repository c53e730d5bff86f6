"""The recorded race at equal bytes: what it runs, what it adds, and how it is read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cprec_lib import Ranks
from cprec_lib.evidence.race import (
    BASE,
    RACED,
    RACES,
    REFERENCES,
    TIMES,
    Finish,
    read_race,
    run_race,
    winners,
)
from cprec_lib.evidence.records import pack_ranks, read_result, unpack_ranks, write_result
from cprec_lib.evidence.settings import Setting

LOG = "synthetic:items=120,users=60,groups=6,zipf=0.8"
SETTING = Setting(
    width=16, dilations=(1,), learning_rates=(0.02,), epochs=1, batch_size=16, max_len=10, seeds=1
)
SOME = ("own tables, int8", "own tables, float32", "CpRec, int8", "pruned")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("race")


@pytest.fixture(scope="module")
def finishes(folder: Path) -> list[Finish]:
    return [*run_race(LOG, SETTING, folder / "log.json", folder / "work", SOME, "cpu")]


def test_every_racer_keeps_every_budget_that_it_can(finishes: list[Finish]) -> None:
    assert finishes[0]["racer"] == BASE and finishes[0]["times"] == 1
    whole = finishes[0]["bytes"]
    assert {(f["racer"], f["times"]) for f in finishes[1:]} <= {(r, t) for r in SOME for t in TIMES}
    assert {f["racer"] for f in finishes if f["times"] == 4} == {*SOME}
    assert all(f["bytes"] <= whole // f["times"] for f in finishes)


def test_a_finish_says_how_well_the_model_does(finishes: list[Finish]) -> None:
    for finish in finishes:
        ndcg = unpack_ranks(finish["ranks"]).values("ndcg@10")
        assert finish["test"] == pytest.approx(ndcg.mean()) and len(ndcg) == 60
        head, outside = finish["head"], finish["outside"]
        assert head is not None and outside is not None
        assert min(head, outside) <= finish["test"] <= max(head, outside)
        assert finish["seconds"] > 0 and finish["milliseconds"] > 0
        assert finish["search_bytes"] >= 4 * 120  # the scores of all items


def test_only_what_is_missing_is_run(finishes: list[Finish], folder: Path) -> None:
    path, work = folder / "log.json", folder / "work"
    before = path.read_bytes()
    assert [*run_race(LOG, SETTING, path, work, SOME, "cpu")] == []
    assert path.read_bytes() == before
    two = replace(SETTING, seeds=2)
    new = [*run_race(LOG, two, path, work, SOME[:1], "cpu")]
    assert {f["seed"] for f in new} == {1} and {f["racer"] for f in new} == {BASE, SOME[0]}
    path.write_bytes(before)


def test_a_training_that_is_kept_is_not_repeated(finishes: list[Finish], folder: Path) -> None:
    """The same finishes from the checkpoints, except for the times."""
    again = [*run_race(LOG, SETTING, folder / "b.json", folder / "work", SOME[:2], "cpu")]
    first = {(f["racer"], f["times"]): f for f in finishes}
    for finish in again:
        before = first[finish["racer"], finish["times"]]
        for name in ("bytes", "valid", "test", "seconds", "ranks"):
            assert finish[name] == before[name]  # type: ignore[literal-required]


def test_a_distilled_race_has_a_record_of_its_own(finishes: list[Finish], folder: Path) -> None:
    path, work = folder / "distilled.json", folder / "work"
    given = LOG, SETTING, path, work, ["own tables, float32"], "cpu", 0.5
    taught = {f["times"]: f["ranks"] for f in run_race(*given)}
    alone = {f["times"]: f["ranks"] for f in finishes if f["racer"] in (BASE, given[4][0])}
    assert [*taught] == [*alone] and taught[1] == alone[1]  # the teacher is the same
    assert taught[4] != alone[4]
    assert read_result(path)["distillation"] == 0.5 and not [*run_race(*given)]
    for other, share in ((folder / "log.json", 0.5), (path, 0.0)):
        with pytest.raises(ValueError, match="recorded with another distillation; give the same"):
            [*run_race(LOG, SETTING, other, work, SOME, "cpu", share)]


def test_a_reference_needs_no_training(finishes: list[Finish], folder: Path) -> None:
    """The uncompressed model, rounded; it is trained again only if no checkpoint is left."""
    path = folder / "references.json"
    path.write_bytes((folder / "log.json").read_bytes())
    base = finishes[0]
    for work in ("work", "other"):
        new = [*run_race(LOG, SETTING, path, folder / work, ["rounded full model"], "cpu")]
        assert [each["racer"] for each in new] == [*REFERENCES]
        assert all(each["times"] == 1 and each["rounded_from"] == base["ranks"] for each in new)
        assert [round(each["bytes"] / base["bytes"], 2) for each in new] == [0.3, 0.19]
        if work == "work":
            assert all(each["seconds"] == base["seconds"] for each in new)
            path.write_bytes((folder / "log.json").read_bytes())
    found = {each.racer: each for each in read_race(path)}
    assert not {*REFERENCES} & {each.racer for each in winners([*found.values()]).values()}
    narrow = replace(SETTING, width=24)  # which groups of 16 do not divide
    new = [*run_race(LOG, narrow, folder / "c.json", folder / "work", [*REFERENCES], "cpu")]
    assert [each["racer"] for each in new] == [BASE, next(iter(REFERENCES))]


def test_the_record_says_how_many_racers_keep_a_budget(
    finishes: list[Finish], folder: Path
) -> None:
    entrants = read_result(folder / "log.json")["entrants"]
    assert [*entrants] == ["4", "8", "16", "32"][: len(entrants)]
    assert all(entrants[str(times)] <= len(RACED) for times in TIMES if str(times) in entrants)
    kept = {f["times"] for f in finishes if f["racer"] == "CpRec, int8"}
    assert all(entrants[str(times)] >= 1 for times in kept) and entrants["4"] > len(SOME)


def test_a_way_names_all_its_forms(finishes: list[Finish], folder: Path) -> None:
    path = folder / "way.json"
    found = {f["racer"] for f in run_race(LOG, SETTING, path, folder / "work", ["CpRec"], "cpu")}
    assert found == {BASE, *(name for name in RACED if name.startswith("CpRec, "))}


def test_another_race_and_an_unknown_racer_are_refused(
    finishes: list[Finish], folder: Path
) -> None:
    path, work = folder / "log.json", folder / "work"
    with pytest.raises(ValueError, match="was recorded with another setting; give the same"):
        next(run_race(LOG, replace(SETTING, epochs=2), path, work))
    with pytest.raises(ValueError, match="was recorded with another dataset, n_items, windows_sha"):
        next(run_race(LOG.replace("120", "130"), SETTING, path, work))
    with pytest.raises(ValueError, match="unknown racer 'int9'; choose one of own tables; tied; "):
        next(run_race(LOG, SETTING, path, work, ["int9"]))


def test_the_recorded_settings_have_one_rate_for_all() -> None:
    assert all(len(setting.learning_rates) == 1 for setting in RACES.values())
    assert all(any(name in label for label in RACED) for name in ("codes", "hashing", "pruned"))


def finish(racer: str, seed: int, ranks: list[int], **values: Any) -> dict[str, Any]:
    found = {name: 0.1 for name in ("valid", "test", "head", "outside", "seconds")}
    made = {"racer": racer, "model": racer, "seed": seed, "times": 4 if racer != BASE else 1}
    return {**made, "bytes": 10, **found, "ranks": pack_ranks(np.array(ranks)), **values}


def test_standings_compare_with_the_uncompressed_model(tmp_path: Path) -> None:
    draw, path = np.random.default_rng(0), tmp_path / "log.json"
    good = [draw.integers(1, 30, 300).tolist() for _ in range(2)]
    same = [
        finish(racer, seed, good[seed], valid=0.2 + seed)
        for racer in (BASE, "a")
        for seed in (0, 1)
    ]
    worse = [finish("b", 0, (np.array(good[0]) + 3).tolist(), outside=None)]
    write_result(path, {"finishes": same + worse})
    standings = {standing.racer: standing for standing in read_race(path)}
    assert standings["a"].gap.estimate == 0 and standings["a"].seeds == 2
    assert standings["a"].valid == pytest.approx(0.7)
    assert standings["b"].gap.interval()[1] < 0 and standings["b"].seeds == 1
    assert np.isnan(standings["b"].outside)
    # With one seed each, the interval is over the users alone, and narrower.
    write_result(path, {"finishes": [same[0], *worse]})
    alone = {standing.racer: standing for standing in read_race(path)}["b"]
    assert alone.gap.of_seeds == 0 and alone.gap.estimate == pytest.approx(
        standings["b"].gap.estimate + np.mean(_ndcg(good[1]) - _ndcg(good[0])) / 2
    )


def test_a_reference_is_compared_with_its_own_model(tmp_path: Path) -> None:
    """Seed by seed, so that the variance between trainings is not in its interval."""
    draw, path = np.random.default_rng(0), tmp_path / "log.json"
    whole = [draw.integers(1, 30 * (seed + 1), 300) for seed in range(2)]
    moved = [ranks + (draw.random(300) < 0.05) for ranks in whole]
    label = next(iter(REFERENCES))
    runs = [finish(BASE, seed, whole[seed].tolist()) for seed in (0, 1)]
    runs += [
        finish(label, s, moved[s].tolist(), times=1, rounded_from=pack_ranks(whole[s]))
        for s in (0, 1)
    ]
    runs += [finish("a", seed, moved[seed].tolist()) for seed in (0, 1)]
    write_result(path, {"finishes": runs})
    found = {each.racer: each.gap for each in read_race(path)}
    ndcg = [np.array([_ndcg(ranks.tolist()) for ranks in both]) for both in (moved, whole)]
    assert found[label].estimate == pytest.approx((ndcg[0] - ndcg[1]).mean())
    assert found[label].baseline == pytest.approx(ndcg[1].mean())
    seeds = (ndcg[0] - ndcg[1]).mean(1).var(ddof=1) / 2
    assert found[label].of_seeds == pytest.approx(seeds)
    assert found["a"].estimate == pytest.approx(found[label].estimate)
    assert found["a"].error > 10 * found[label].error


def _ndcg(ranks: list[int]) -> np.ndarray:
    return Ranks(np.array(ranks)).values("ndcg@10")


def test_a_record_that_was_edited_is_refused(finishes: list[Finish], folder: Path) -> None:
    path = folder / "edited.json"
    path.write_text((folder / "log.json").read_text().replace('"seed": 0', '"seed": 7', 1))
    with pytest.raises(ValueError, match="was edited or cut short"):
        read_race(path)
    assert read_result(folder / "log.json")["finishes"]
