"""Result files: sealed, read back by model, seed and tuned learning rate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib import SequenceData
from cprec_lib.evidence.records import (
    Record,
    by_popularity,
    pack_ranks,
    provenance,
    read_all,
    read_record,
    read_result,
    read_times,
    sha256_of,
    tables,
    tuned,
    unpack_ranks,
    write_result,
)
from cprec_lib.evidence.variants import VARIANTS
from cprec_lib.train.evaluation import Ranks
from tests.evidence.samples import record


def result(variant: str, rate: float, seed: int, valid: float, ranks: list[int]) -> Record:
    training = {"learning_rate": rate, "seed": seed} if rate else None
    return record(variant, ranks, seed=seed, train_config=training, valid={"ndcg@10": valid})


def write(folder: Path, *results: Record) -> None:
    for number, each in enumerate(results):
        write_result(folder / f"{number}.json", each)


@given(st.lists(st.integers(1, 2**31 - 1)))
def test_ranks_survive_packing(ranks: list[int]) -> None:
    assert unpack_ranks(pack_ranks(np.array(ranks, dtype=np.int64))).ranks.tolist() == ranks


def test_the_hash_ignores_the_order_of_keys() -> None:
    assert sha256_of({"a": 1, "b": [2, 3]}) == sha256_of({"b": [2, 3], "a": 1})
    assert sha256_of({"a": 1, "b": [2, 3]}) != sha256_of({"a": 1, "b": [3, 2]})


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = {"model": "cprec", "dilations": [1, 4], "loss": 5.25}
    write_result(tmp_path / "new" / "a.json", written)
    assert read_result(tmp_path / "new" / "a.json") == written


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("5.25", "5.05"),
        lambda text: json.dumps({**json.loads(text), "sha256": "0" * 64}),
        lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "sha256"}),
        lambda text: "[]",
        lambda text: "[1]",
        lambda text: "5",
        lambda text: "[" * 10**5,
        lambda text: "",
    ],
)
def test_a_file_cut_short_or_edited_is_named(damage: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_result(path, {"model": "cprec", "loss": 5.25})
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"a\.json .*restore it with git, or delete it and"):
        read_result(path)


def test_a_record_of_another_version_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    older = dict(record("cprec"))
    del older["split_seed"], older["users"]
    write_result(tmp_path / "a.json", older)
    with pytest.raises(ValueError, match=r"a\.json lacks split_seed, users: another version"):
        read_record(tmp_path / "a.json")
    with pytest.raises(ValueError, match="lacks batch_size, milliseconds, precision"):
        read_times(tmp_path / "a.json")


def test_every_committed_record_is_whole_and_its_keys_have_no_spaces() -> None:
    results = Path(__file__).resolve().parents[2] / "results"
    read = {"runs": read_record, "records": read_record, "time": read_times}
    paths = [path for name in read for path in (results / name).rglob("*.json")]
    assert len(paths) > 250
    for path in paths:
        found = read[path.relative_to(results).parts[0]](path)
        assert not [key for key in _keys(found) if " " in key], path
        if "variant" in found:
            assert found["variant"] in VARIANTS and path.name.startswith(found["variant"]), path


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from _keys(inner)


def test_the_best_trial_is_the_one_that_validation_chose() -> None:
    later, first = result("cprec", 0.01, 1, 0.1, [3]), result("cprec", 0.01, 0, 0.3, [1])
    other = result("cprec", 0.003, 0, 0.2, [2])
    lucky = result("cprec", 0.003, 1, 0.9, [4])  # a further seed does not choose
    assert tuned([later, first, other, lucky]) == [first, later]


def test_without_a_first_seed_no_trial_is_the_best() -> None:
    with pytest.raises(ValueError, match=r"no run of 'cprec' has seed 0; `cprec reproduce` rec"):
        tuned([result("cprec", 0.01, seed, 0.1, [1]) for seed in (1, 2)])


def test_three_seeds_outweigh_a_lucky_one() -> None:
    lucky = [result("cprec", 0.1, seed, score, [1]) for seed, score in enumerate((0.9, 0.1, 0.1))]
    steady = [result("cprec", 0.2, seed, 0.5, [1]) for seed in range(4)]
    luckiest = result("cprec", 0.3, 0, 1.0, [1])  # has one seed only
    assert tuned([*lucky, *steady, luckiest]) == steady
    assert tuned([lucky[0], steady[0], luckiest]) == [luckiest]  # none has three yet


def test_a_model_that_only_counts_has_no_trial() -> None:
    counted = result("popularity", 0, 0, 0.1, [1])
    assert tuned([counted]) == [counted]


def test_a_copied_file_counts_once_and_a_second_result_is_refused(tmp_path: Path) -> None:
    runs = [result("cprec", 0.01, seed, 0.3, [1, 2]) for seed in (0, 1)]
    write(tmp_path, *runs)
    write_result(tmp_path / "copy.json", runs[1])
    assert [run["seed"] for run in read_all(tmp_path)["cprec"]] == [0, 1]
    write_result(tmp_path / "other.json", {**runs[1], "test_ranks": pack_ranks(np.array([9, 9]))})
    with pytest.raises(ValueError, match=r"1\.json and .*other\.json are two records of one run"):
        read_all(tmp_path)


def test_missing_results_are_named_with_the_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        read_all(Path("runs") / "nothing")
    assert f"no results in {tmp_path.resolve() / 'runs' / 'nothing'};" in str(error.value)


def test_tables_have_a_row_a_seed_and_leave_out_what_is_not_trained() -> None:
    runs = [result("cprec", 0.01, seed, 0.1, ranks) for seed, ranks in ((0, [1, 99]), (1, [99, 3]))]
    counted = result("popularity", 0, 0, 0.1, [1, 1])
    found = tables({"cprec": runs, "popularity": [counted]})
    assert {key: table.tolist() for key, table in found.items()} == {"cprec": [[1, 0], [0, 0.5]]}


def test_provenance_names_each_machine_once() -> None:
    run = record("cprec")
    text = provenance({"a": [run, record("cprec", date="2026-01-01")], "b": [run]})
    assert text == (
        "3 runs of toy, recorded 2026-01-01, 2026-01-02 on cpu (x86_64, threads: 1) "
        "with torch 2.13.0."
    )
    assert provenance({"b": [run]}).startswith("1 run of toy, ")


def ten_items() -> SequenceData:
    rows = [
        (u, i, t) for u in range(12) for t, i in enumerate([u % 10, (u + 1) % 10, (u + 2) % 10])
    ]
    return SequenceData.from_interactions(pd.DataFrame(rows, columns=["user", "item", "timestamp"]))


def test_by_popularity_puts_each_target_into_its_part() -> None:
    data = ten_items()
    ranks = Ranks(np.where(data.test.targets.numpy() <= 1, 1, 99))
    parts = by_popularity(ranks, data)
    assert [part["end"] for part in parts] == [0.1, 0.33, 1.0]
    assert [part["ndcg@10"] for part in parts] == [1, 0, 0]
    assert sum(part["users"] for part in parts) == len(ranks.ranks)


def test_a_part_without_users_has_no_mean() -> None:
    data = ten_items()
    data.test.targets.fill_(1)
    head, *others = by_popularity(Ranks(np.ones(12)), data)
    assert (head["users"], head["ndcg@10"]) == (12, 1)
    assert others == [
        {"end": 0.33, "users": 0, "ndcg@10": None},
        {"end": 1.0, "users": 0, "ndcg@10": None},
    ]
    json.dumps(others, allow_nan=False)
