"""Settings: how a data set is recorded, what to try next, and the names of logs and folders."""

import re
from dataclasses import replace

import pytest

from cprec_lib.evidence.settings import (
    SETTINGS,
    TUNED,
    Setting,
    folder_name,
    log_name,
    setting_of,
    tuned_setting,
)
from cprec_lib.evidence.variants import models
from cprec_lib.logs.datasets import DATASETS
from cprec_lib.logs.synthetic import Synthetic

TINY = Setting(width=8, max_len=10)


def test_a_setting_is_found_by_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = replace(TINY, width=16, max_len=20)
    monkeypatch.setitem(SETTINGS, "toy", (TINY, wide))
    assert setting_of("data/toy.csv") == setting_of("toy", 8) == TINY
    assert setting_of("toy", 16) == wide
    assert setting_of("toy", 9) == replace(TINY, width=9)
    assert setting_of("another.csv", 32) == replace(Setting(), width=32)


def test_the_label_names_what_a_folder_holds() -> None:
    assert folder_name("a/ml.csv", Setting(width=32, dropout=0.25)) == "ml-w32-d0.25"
    assert folder_name("ml-100k", replace(Setting(), split="by_user")) == "ml-100k-w64-d0.3-by_user"
    assert folder_name("log.csv", replace(Setting(), users=500)) == "log-w64-d0.3-u500"


def test_a_best_rate_at_an_edge_goes_on_until_it_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(
        learning_rates=(0.001, 0.003, 0.01),
        further_rates=(0.0003, 0.03, 0.1),
        more_dropouts=(0.1,),
        dropout=0.3,
    )
    worth = {0.0003: 1, 0.001: 2, 0.003: 3, 0.01: 4, 0.03: 5, 0.1: 3}
    scores: dict[tuple[float, float], float] = {}
    while trial := setting.next_trial(scores):
        scores[trial] = worth[trial[0]]
    rates = [rate for rate, _ in scores]
    assert rates == [0.001, 0.003, 0.01, 0.03, 0.1, 0.03]
    assert [dropout for _, dropout in scores] == [0.3] * 5 + [0.1]
    downwards = {(0.001, 0.3): 3.0, (0.003, 0.3): 2.0, (0.01, 0.3): 1.0}
    assert setting.next_trial(downwards) == (0.0003, 0.3)
    assert setting.next_trial(downwards | {(0.0003, 0.3): 4.0}) == (0.0003, 0.1)  # the last rate


def test_a_best_dropout_at_an_edge_goes_on_too() -> None:
    setting = Setting(dropout=0.3, more_dropouts=(0.1, 0.5, 0.7))
    worth = {0.1: 1, 0.3: 2, 0.5: 3, 0.7: 4}
    scores: dict[tuple[float, float], float] = {}
    while trial := setting.next_trial(scores):
        scores[trial] = worth[trial[1]] + trial[0]
    assert [*scores] == [(0.003, 0.3), (0.01, 0.3), (0.01, 0.1), (0.01, 0.5), (0.01, 0.7)]
    inside = {**dict.fromkeys(scores, 0.0), (0.01, 0.3): 1.0}
    del inside[0.01, 0.7]
    assert setting.next_trial(inside) is None


def test_the_best_trials_meet_again_with_further_seeds() -> None:
    setting = Setting(learning_rates=(0.001, 0.003, 0.01, 0.03), tuning_seeds=3)
    lucky = {0.001: 0, 0.003: 5, 0.01: 4, 0.03: 3}  # with seed 0
    scores: dict[tuple[float, float], dict[int, float]] = {}
    while following := setting.next_run(scores):
        trial, seed = following
        scores.setdefault(trial, {})[seed] = lucky[trial[0]] if seed == 0 else 3.5
    assert {trial[0]: len(own) for trial, own in scores.items()} == {
        0.001: 1,
        0.003: 3,
        0.01: 3,
        0.03: 3,
    }


def test_a_mean_that_falls_calls_for_further_trials() -> None:
    setting = Setting(
        learning_rates=(0.003, 0.01), further_rates=(0.001, 0.03), dropout=0.3, tuning_seeds=2
    )
    worth = {(0.01, 0): 5, (0.003, 0): 4, (0.03, 0): 3, (0.01, 1): 0, (0.003, 1): 4}
    scores: dict[tuple[float, float], dict[int, float]] = {}
    tried = []
    while following := setting.next_run(scores):
        tried.append((following[0][0], following[1]))
        scores.setdefault(following[0], {})[following[1]] = worth.get(tried[-1], 1)
    # 0.01 seemed best; with a second seed 0.003 is, whose lower neighbour was not tried yet.
    assert tried[:4] == [(0.003, 0), (0.01, 0), (0.03, 0), (0.01, 1)]
    assert (0.001, 0) in tried


@pytest.mark.parametrize("name", ["seeds", "tuning_seeds"])
def test_a_setting_has_a_seed(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} 0 is below 1"):
        replace(TINY, **{name: 0})


def test_a_tuned_setting_is_found_by_name() -> None:
    assert tuned_setting("ml-100k-w512-authors").initial_weights == "authors"
    assert tuned_setting("ml-100k-w512").initial_weights == "scaled"
    configs = models(1000, tuned_setting("ml-100k-w64-authors"))
    assert {config.initial_weights for config in configs.values()} == {"authors"}
    with pytest.raises(ValueError, match="unknown setting 'ml-w1'; choose from ml-100k-w64"):
        tuned_setting("ml-w1")


def test_a_named_setting_is_of_a_log_that_has_settings() -> None:
    real = {name: each for name, each in TUNED.items() if not name.startswith("tail-")}
    assert {setting.dataset for setting in real.values()} <= {*SETTINGS}
    assert all(name.startswith(setting.dataset) for name, setting in real.items())


def test_a_made_up_log_has_the_tail_that_its_name_says() -> None:
    for name, setting in TUNED.items():
        if found := re.fullmatch(r"tail-(\d+)-w(\d+)", name):
            log = Synthetic.parse(setting.dataset)
            head = round(setting.cutoffs[0] * log.items)
            assert log.popularity[head:].sum() == pytest.approx(int(found[1]) / 100, abs=0.005)
            assert setting.width == int(found[2])


def test_a_log_name_fits_into_a_file_name() -> None:
    assert log_name("synthetic:items=50,zipf=1.1") == "synthetic-items-50-zipf-1.1"
    assert log_name("data/log.parquet") == "log"


def test_a_log_has_its_registry_name_and_a_file_its_own() -> None:
    assert all(log_name(name) == name for name in DATASETS)
    assert log_name("a/globo.parquet") == "globo"
    assert setting_of("a/globo.parquet", 256) == setting_of("globo", 256) == SETTINGS["globo"][1]
