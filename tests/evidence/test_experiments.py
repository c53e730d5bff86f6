"""Experiments: what is planned, run, recorded, refused and left for later."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from cprec_lib import TrainConfig, nextitnet
from cprec_lib.evidence import experiments
from cprec_lib.evidence.experiments import Experiment, missing, reproduce, run, run_again
from cprec_lib.evidence.records import (
    read_all,
    read_record,
    read_times,
    trial_of,
    tuned,
    unpack_ranks,
    write_result,
)
from cprec_lib.evidence.settings import Setting, setting_of
from cprec_lib.evidence.variants import choose, models

ROOT = Path(__file__).resolve().parents[2]
TINY = Setting(width=8, dropout=0.0, epochs=1, learning_rates=(0.003, 0.01), seeds=2, max_len=10)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of 40 users who each meet 12 of 30 items."""
    draw = np.random.default_rng(0)
    rows = [
        (user, item, time)
        for user in range(40)
        for time, item in enumerate(draw.choice(30, size=12, replace=False))
    ]
    path = tmp_path / "toy.csv"
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(path, index=False)
    return path


def record(names: list[str], table: Path, folder: Path, setting: Setting = TINY) -> None:
    """Record what is missing of some models, in this process."""
    while lacking := missing(names, str(table), setting, folder):
        result = run(lacking[0], folder / "work" / lacking[0].stem)
        assert result
        write_result(folder / f"{lacking[0].stem}.json", result)


def test_models_are_timed_as_the_setting_trains_them(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[TrainConfig] = []
    monkeypatch.setattr(
        experiments, "race", lambda models, data, config: given.append(config) or {}
    )
    path = tmp_path / "time.json"
    experiments.time_models(str(table), replace(TINY, precision="bfloat16", batch_size=7), path)
    [config] = given
    assert (config.precision, config.batch_size) == ("bfloat16", 7)
    assert read_times(path)["precision"] == "bfloat16"


def test_dropout_may_go_with_the_learning_rate(table: Path, tmp_path: Path) -> None:
    both = replace(TINY, dropouts=(0.2, 0.1))
    plans = missing(["cprec"], str(table), both, tmp_path)
    assert [(e.training.learning_rate, e.config.dropout) for e in plans] == [
        (0.003, 0.2),
        (0.01, 0.1),
    ]
    record(["cprec"], table, tmp_path, both)
    (last,) = [run for run in read_all(tmp_path)["cprec"] if run["seed"] == 1]
    assert last["model_config"]["dropout"] == both.trials[last["train_config"]["learning_rate"]]
    with pytest.raises(ValueError, match="go with the dropouts"):
        replace(both, learning_rates=(0.1,))
    with pytest.raises(ValueError, match="give each one once"):
        replace(both, learning_rates=(0.1, 0.1))


# ---- The plan ----


def stems(names: list[str], table: Path, folder: Path, setting: Setting = TINY) -> list[str]:
    return [each.stem for each in missing(names, str(table), setting, folder)]


def test_all_rates_are_tried_before_further_seeds(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    names = ["bigram", "cprec"]
    first = ["bigram", "cprec-lr0.003-d0-s0", "cprec-lr0.01-d0-s0"]
    assert stems(names, table, folder) == first
    record(names, table, folder)
    assert stems(names, table, folder) == []
    recorded = read_all(folder)
    by_rate = {r["train_config"]["learning_rate"]: r for r in recorded["cprec"] if r["seed"] == 0}
    best = max(by_rate, key=lambda rate: by_rate[rate]["valid"]["ndcg@10"])
    seed_1 = [r for r in recorded["cprec"] if r["seed"] == 1]
    assert [r["train_config"]["learning_rate"] for r in seed_1] == [best]


def test_a_deleted_first_seed_is_planned_again(table: Path, tmp_path: Path) -> None:
    record(["cprec"], table, tmp_path)
    (later,) = tmp_path.glob("*-s1.json")
    first = later.with_name(later.name.replace("-s1", "-s0"))
    first.unlink()
    assert stems(["cprec"], table, tmp_path) == [first.stem]


def test_seeds_wait_for_the_last_trial(table: Path, tmp_path: Path) -> None:
    growing = replace(TINY, further_rates=(0.001, 0.03), more_dropouts=(0.1,))
    record(["cprec"], table, tmp_path, growing)
    runs = read_all(tmp_path)["cprec"]
    tried = {trial_of(run): run["valid"]["ndcg@10"] for run in runs if run["seed"] == 0}
    assert growing.next_trial(tried) is None
    (last,) = [run for run in runs if run["seed"] == 1]
    assert tried[trial_of(last)] == max(tried.values())
    assert tuned(runs) == [next(r for r in runs if trial_of(r) == trial_of(last)), last]


# ---- The record ----


def test_a_result_says_what_was_run(table: Path, tmp_path: Path) -> None:
    experiment = missing(["cprec"], str(table), TINY, tmp_path)[0]
    result = run(experiment, tmp_path / "work")
    assert result
    assert result["dataset"] == "toy" and str(tmp_path) not in json.dumps(result)
    assert sum(result["parameters_by_part"].values()) == result["parameters"]
    assert result["bytes"] == 4 * result["parameters"]
    assert unpack_ranks(result["test_ranks"]).metrics() == result["test"]
    assert sum(part["users"] for part in result["test_by_popularity"]) == result["n_users"] == 40
    assert result["peak_bytes"] > 50e6
    assert {"exact_1", "early_stopping_64"} <= {*result["latency_ms"]}
    assert result["train_loss"] > 0
    assert result["search_rules"]["spared_by_bounds"] >= result["search_rules"]["spared_by_tokens"]


def test_only_a_search_with_blocks_has_rules(table: Path, tmp_path: Path) -> None:
    result = run(missing(["nextitnet"], str(table), TINY, tmp_path)[0], tmp_path / "work")
    assert result and "search_rules" not in result


def test_some_users_stand_for_a_data_set_and_are_always_the_same(
    table: Path, tmp_path: Path
) -> None:
    some = replace(TINY, users=10)
    (experiment,) = missing(["popularity"], str(table), some, tmp_path)
    result = run(experiment, tmp_path)
    assert result and result == {**run(experiment, tmp_path), "peak_bytes": result["peak_bytes"]}
    assert (result["users"], result["n_users"]) == (10, 10)
    write_result(tmp_path / "popularity.json", result)
    assert missing(["popularity"], str(table), some, tmp_path) == []
    for other in (TINY, replace(TINY, users=11)):
        with pytest.raises(ValueError, match=r"popularity\.json was recorded with"):
            missing(["popularity"], str(table), other, tmp_path)


@pytest.mark.parametrize("name", choose(["generic"]))
def test_other_fillings_run(name: str, table: Path, tmp_path: Path) -> None:
    experiment = missing([name], str(table), TINY, tmp_path)[0]
    assert experiment.stem.startswith(f"{name}-lr")
    result = run(experiment, tmp_path / "work")
    assert result and result["variant"] == name
    write_result(tmp_path / f"{experiment.stem}.json", result)
    assert experiment.stem not in stems([name], table, tmp_path)


def test_counting_needs_no_training(table: Path, tmp_path: Path) -> None:
    (experiment,) = missing(["popularity"], str(table), TINY, tmp_path)
    result = run(experiment, tmp_path / "work")
    assert result and (result["parameters"], result["train_config"]) == (0, None)
    assert not (tmp_path / "work").exists()


def test_what_is_recorded_stays_and_other_settings_are_refused(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    names, one_rate = ["cprec"], replace(TINY, learning_rates=(0.01,), seeds=1)
    record(names, table, folder, one_rate)
    assert stems(names, table, folder, one_rate) == []
    with pytest.raises(
        ValueError, match=r"lr0\.01-d0-s0\.json was recorded with train_config .*now"
    ):
        stems(names, table, folder, replace(one_rate, epochs=2))
    with pytest.raises(ValueError, match="was recorded with max_len 10, now it is 12"):
        stems(names, table, folder, replace(one_rate, max_len=12))
    other = tmp_path / "other" / "toy.csv"
    other.parent.mkdir()
    rows = pd.read_csv(table)
    rows.assign(timestamp=rows["timestamp"] + 1).to_csv(other, index=False)
    with pytest.raises(ValueError, match="was recorded with data_sha256"):
        stems(names, other, folder, one_rate)


def test_no_default_is_assumed_for_a_field_that_a_record_lacks(table: Path, tmp_path: Path) -> None:
    one_rate = replace(TINY, learning_rates=(0.01,), seeds=1)
    record(["cprec"], table, tmp_path, one_rate)
    (path,) = tmp_path.glob("*.json")
    older = read_record(path)
    del older["train_config"]["schedule"]
    write_result(path, older)
    with pytest.raises(ValueError, match="recorded with train_config"):
        stems(["cprec"], table, tmp_path, one_rate)


def test_users_that_a_data_set_does_not_have_are_refused(table: Path, tmp_path: Path) -> None:
    for users in (-1, 0, 41):
        with pytest.raises(ValueError, match=f"users {users} is outside 1..40"):
            missing(["popularity"], str(table), replace(TINY, users=users), tmp_path)


def test_a_setting_lacks_what_it_cannot_have(table: Path, tmp_path: Path) -> None:
    assert "cprec-cut-2-10" not in models(22, TINY)  # its head would be empty
    wide = replace(TINY, width=16)
    lacking = [e.variant for e in missing(["nextitnet-w16", "cprec"], str(table), wide, tmp_path)]
    assert {*lacking} == {"cprec"}
    with pytest.raises(ValueError, match="width 64 there is no NextItNet, width 64"):
        missing(["nextitnet-w64"], str(table), replace(TINY, width=64), tmp_path)


def test_a_damaged_result_is_named(table: Path, tmp_path: Path) -> None:
    record(["popularity"], table, tmp_path)
    path = tmp_path / "popularity.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ValueError, match=r"popularity\.json .*delete it"):
        stems(["popularity"], table, tmp_path)


def test_reproduce_stops_at_its_budget_and_goes_on_later(table: Path, tmp_path: Path) -> None:
    folder, work = tmp_path / "toy-w8-d0", tmp_path / "work"
    slow = replace(TINY, learning_rates=(0.01,), seeds=1, epochs=3)

    def stages(budget: float) -> list[tuple[str, bool]]:
        found = reproduce(["cprec"], str(table), slow, folder, work, budget, "cpu")
        return [(experiment.stem, result is not None) for experiment, result in found]

    assert stages(0) == [("cprec-lr0.01-d0-s0", False)]
    assert not [*folder.glob("*")]
    assert stages(600) == [("cprec-lr0.01-d0-s0", True)]
    assert stages(600) == []
    assert read_record(folder / "cprec-lr0.01-d0-s0.json")["epochs"] == 3


def test_a_record_is_written_before_it_is_told(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "_in_fresh_process", run)
    runs = reproduce(["popularity"], str(table), TINY, tmp_path / "r", tmp_path / "w", device="cpu")
    _, result = next(runs)
    runs.close()
    assert read_record(tmp_path / "r" / "popularity.json") == result


@pytest.mark.parametrize("split", ["leave_one_out", "by_user", "by_time"])
def test_a_record_is_repeated_from_itself_alone(split: str, table: Path, tmp_path: Path) -> None:
    log = pd.read_csv(table)
    log["timestamp"] *= 2 + log["user"] % 3  # times that only count cannot be split by time
    log.to_csv(table, index=False)
    setting = replace(
        TINY, learning_rates=(0.01,), seeds=1, split=split, split_seed=3, users=30, dropout=0.2
    )
    record(["cprec", "popularity"], table, tmp_path, setting)
    for path in tmp_path.glob("*.json"):
        work = tmp_path / "again"
        recorded, now = run_again(path, work, str(table), device="cpu")
        assert now and not work.exists()  # a folder that stayed would spare the next training
        for field in ("valid", "test", "test_ranks", "config_sha256", "data_sha256", "variant"):
            assert now[field] == recorded[field], field
        assert recorded["split_seed"] == now["split_seed"] == 3


def test_a_record_that_cannot_be_repeated_says_why(table: Path, tmp_path: Path) -> None:
    record(["cprec"], table, tmp_path, replace(TINY, learning_rates=(0.01,), seeds=1))
    (path,) = tmp_path.glob("*.json")
    other = tmp_path / "toy.csv"
    pd.read_csv(table).iloc[:-1].to_csv(other, index=False)
    with pytest.raises(ValueError, match="was recorded with other data than"):
        run_again(path, tmp_path / "again", str(other))
    older = read_record(path)
    del older["model_config"]["initial_weights"]
    older["model_config"]["rank"] = 3
    write_result(path, older)
    with pytest.raises(ValueError, match="model_config differs in initial_weights, rank"):
        run_again(path, tmp_path / "again", str(table))


def test_a_list_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPREC_DATA", str(tmp_path))
    monkeypatch.setattr(experiments, "load_interactions", lambda _: pytest.fail("loaded"))
    for dataset in ("ml-20m", "globo"):
        found = missing(choose(["rival"]), dataset, TINY, tmp_path, download=False)
        assert [e.variant for e in found][:2] == ["nextitnet", "cprec"]
    recorded = next((ROOT / "results" / "runs").glob("ml-100k-w64-d0.3"))
    setting = setting_of("ml-100k")
    assert missing(["cprec"], "ml-100k", setting, recorded, download=False) == []


def test_a_small_catalogue_is_refused_before_it_is_trained_on(tmp_path: Path) -> None:
    rows = [(u, (u + t) % 9, t) for u in range(20) for t in range(5)]
    path = tmp_path / "nine.csv"
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"nine has 9 items.* at least 10"):
        missing(["cprec"], str(path), TINY, tmp_path)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_that_is_killed_is_a_sentence(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "run", _die)
    with pytest.raises(ChildProcessError, match=r"popularity was killed.*resumes it"):
        list(reproduce(["popularity"], str(table), TINY, tmp_path / "r", tmp_path / "w"))


def test_an_experiment_describes_itself_as_json() -> None:
    config, training = nextitnet(30, 8), TINY.training(0.01, 3)
    experiment = Experiment("cprec-cut-5-20", "ml-100k", config, training, 50, "by_user")
    assert experiment.stem == "cprec-cut-5-20-lr0.01-d0-s3"
    assert json.loads(json.dumps(experiment.describe()))["train_config"]["seed"] == 3


def test_a_run_ends_with_the_command_that_was_killed(table: Path, tmp_path: Path) -> None:
    options = ["--model", "nextitnet", "--epochs", "100000", "--patience", "100000", "--width", "8"]
    options += ["--results", str(tmp_path / "results"), "--work", str(tmp_path / "work")]
    command = [sys.executable, "-m", "cprec_lib", "reproduce", "--dataset", str(table), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("work/*/*/checkpoint.safetensors")):
            assert started.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        children = psutil.Process(started.pid).children(recursive=True)
        started.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert children and not alive
