"""The loading row of the benchmark on few rows: its log, its two sides and its shape."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from benchmarks import loading
from cprec_lib import SequenceData, load_interactions

ROWS = 20_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "new" / "ratings.csv"
    loading.generated(str(path), ROWS)()
    return path


def test_the_log_is_of_movielenss_format(log: Path) -> None:
    header, *lines = log.read_text(encoding="ascii").splitlines()
    assert header == "userId,movieId,rating,timestamp"
    rows = [line.split(",") for line in lines]
    pairs = [(int(user), int(item)) for user, item, *_ in rows]
    assert len(pairs) == len(set(pairs)) == ROWS
    assert pairs == sorted(pairs)
    assert {float(stars) for _, _, stars, _ in rows} == {n / 2 for n in range(1, 11)}
    seconds = {(user, int(time)) for user, _, _, time in rows}
    assert len(seconds) < 0.8 * ROWS  # many ratings of a user share theirs
    assert [path.name for path in log.parent.iterdir()] == ["ratings.csv"]


def test_the_log_comes_from_its_seed() -> None:
    assert loading.ratings(1000).equals(loading.ratings(1000, seed=0))
    assert not loading.ratings(1000).equals(loading.ratings(1000, seed=1))


def test_a_log_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(b"kept")
    assert loading.generated(str(path), ROWS)() == [4]
    assert path.read_bytes() == b"kept"


@pytest.mark.filterwarnings("ignore:.*last items have the same time")
def test_both_sides_make_the_same_tensors(tmp_path: Path, log: Path) -> None:
    short = tmp_path / "ratings.csv"  # a user is dropped and one trains nothing
    text = log.read_text() + "9001,1,5,7\n9001,2,5,7\n9002,1,5,7\n9002,90000,5,8\n9002,3,5,9\n"
    short.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = SequenceData.from_interactions(load_interactions(short), loading.MAX_LEN)
    assert data.dropped_users == 1
    items, counts, *tensors = loading.tensors_by_hand(str(short))
    assert items.tolist() == data.catalogue.items.tolist()
    assert counts.tolist() == data.catalogue.counts.tolist()
    expected = [data.train, data.valid.contexts, data.valid.targets]
    expected += [data.test.contexts, data.test.targets]
    assert all(torch.equal(a, b) for a, b in zip(tensors, expected, strict=True))
    assert loading.ours(str(log), ROWS)() == loading.by_hand(str(log), ROWS)()


def test_checksums_tell_the_order_of_rows_and_of_columns() -> None:
    matrix = torch.tensor([[1, 2], [3, 5]])
    sums = [loading.checksums(m) for m in (matrix, matrix.flip(0), matrix.flip(1))]
    assert sums[0] == [2, 1 * 3 + 2 * 8, 1 * 4 + 2 * 7]
    assert sums[0] != sums[1] and sums[0] != sums[2]


def test_a_case_has_both_sides(tmp_path: Path) -> None:
    case = loading.compare(2000, tmp_path, rounds=1)
    assert (case["case"], case["ours"]) == ("2,000 ratings", "cprec_lib")
    assert list(case["sides"]) == ["cprec_lib", "pandas"]
    for side in case["sides"].values():
        assert len(side["seconds"]) == len(side["bytes"]) == 1


def test_too_little_memory_is_said_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = loading.compare(10**12, tmp_path)
    assert "GB are free" in case["sides"]["generator"]["skipped"]
    assert "generator: skipped, needs" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("quick", "size"), [(True, 2_000_000), (False, 20_000_000)])
def test_a_row_has_a_title_and_one_case(
    quick: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "compare", lambda rows: {"rows": rows})
    assert loading.row(quick) == {"title": loading.TITLE, "cases": [{"rows": size}]}
