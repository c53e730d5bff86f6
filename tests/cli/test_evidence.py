"""The verbs reproduce and claims."""

import re
import shutil
from pathlib import Path

import pytest

from cprec_lib.evidence import claims, experiments, race
from cprec_lib.evidence.records import read_record
from tests.cli.shell import fail, no_work, succeed

ROOT = Path(__file__).resolve().parents[2]


def test_reproduce_lists_runs_records_them_and_judges(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, work = tmp_path / "results", tmp_path / "work"
    command = ["reproduce", "--dataset", tiny, "--results", results, "--work", work]
    command += ["--model", "bigram", "--model", "nextitnet", "--width", "8", "--epochs", "1"]
    command += ["--learning-rate", "0.01", "--seeds", "1", "--device", "cpu"]
    assert "Missing runs: 2\n  bigram\n  nextitnet-lr0.01-d0.3-s0" in succeed(*command, "--list")
    assert not results.exists()
    listed = succeed(*command, "--list")
    assert "Nothing is recorded here, so their time is unknown" in listed
    assert "With fewer than three learning rates the best one lies at an edge" in listed
    three = (*command, "--further-rates", "0.001,0.1", "--list")
    assert "fewer than three" not in succeed(*three)
    message = succeed(*command, "--budget", "0")
    assert "The budget ended before the last epoch of nextitnet-lr0.01-d0.3-s0" in message
    folder = results / "runs" / "tiny-w8-d0.3"
    assert f"New results in {folder}: 1" in message
    assert f"New results in {folder}: 1" in succeed(*command)
    message = succeed("reproduce", "time", "overall", *command[1:])
    assert "The times are in" in message and f"New results in {folder}: 0" in message
    times = ["reproduce", "time", *command[1:7], *command[11:]]  # without the models
    assert "--results FOLDER measures them again" in succeed(*times)
    assert "Missing runs" not in succeed(*times, "--list")
    assert read_record(folder / "nextitnet-lr0.01-d0.3-s0.json")["stopped"] == "epochs"
    assert len(list(folder.glob("*.json"))) == 2
    listed = succeed(*command, "--model", "cprec", "--list")
    assert "Missing runs: 1\n  cprec-lr0.01-d0.3-s0" in listed
    assert "They take about 0 minutes, by the times of those recorded (1)." in listed

    record = folder / "nextitnet-lr0.01-d0.3-s0.json"
    repeat = ["reproduce", "--dataset", tiny, "--work", work, "--again", record, "--device", "cpu"]
    again = succeed(*repeat)
    assert "no other seed of this run to compare" in again
    succeed(*command, "--seeds", "2")
    again = succeed(*repeat)
    assert re.search(r"recorded +now +range \(seeds: 2\)$", again, re.MULTILINE)
    runs = [read_record(path)["test"] for path in folder.glob("nextitnet-*.json")]
    compared = re.findall(
        r"^(\w+@\d+) +([\d.]+) +([\d.]+)  ([\d.]+) to ([\d.]+)$", again, re.MULTILINE
    )
    assert len(compared) == 9
    for metric, before, now, *reach in compared:
        assert before == now
        values = [run[metric] for run in runs]
        assert reach == [f"{min(values):.6f}", f"{max(values):.6f}"]

    (results / "longtail.json").write_text((ROOT / "results" / "longtail.json").read_text())
    page = tmp_path / "docs" / "claims.md"
    assert "C4  open" in succeed("claims", "--results", results, "--out", page)
    assert page.read_text().startswith("# Which of the paper's claims hold")
    assert not page.with_name("race.md").exists()  # no race is recorded there
    shutil.copytree(ROOT / "results" / "race", results / "race")
    succeed("claims", "--results", results, "--out", page)
    assert page.with_name("race.md").read_text() == (ROOT / "docs" / "race.md").read_text()

    (folder / "other.json").write_text("{}")
    monkeypatch.setattr(experiments, "run_again", no_work)
    assert "other.json" in fail(*repeat)


def test_reproduce_names_what_it_does_not_know(tiny: Path) -> None:
    assert "unknown group 'speed'; choose from overall" in fail("reproduce", "speed")
    assert "unknown model 'CpReq'" in fail("reproduce", "--model", "CpReq")
    message = fail("reproduce", "time", "--model", "cprec", status=2)
    assert "time always measures the models of the group rival" in message
    tied = ["--dataset", "ml-1m", "--width", "128", "--learning-rate", "0.01"]
    assert "give --dropout as well" in fail("reproduce", *tied)
    assert "none of the data sets ml-100k" in fail("reproduce", "--dataset", "nowhere")
    other = ["--setting", "ml-100k-w64", "--dataset", "globo"]
    assert "the setting ml-100k-w64 is for ml-100k, not for globo" in fail("reproduce", *other)


@pytest.mark.parametrize("more", [["sharing"], ["--list"], ["--epochs", "3"], ["--model", "cprec"]])
def test_a_repetition_takes_nothing_but_its_record(more: list[str]) -> None:
    message = fail("reproduce", "--again", "results/a.json", *more, status=2)
    assert "the record says what to run" in message


def test_the_page_of_claims_does_not_take_the_name_of_the_other_page(tmp_path: Path) -> None:
    message = fail("claims", "--out", tmp_path / "race.md", status=2)
    assert "is the page of the race" in message and not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("module", "work", "command"),
    [
        (
            claims,
            "judge_claims",
            ["claims", "--results", ROOT / "results", "--out", "{}/claims.md"],
        ),
        (experiments, "_in_fresh_process", ["reproduce", "overall", "--results", "{}"]),
        (experiments, "_load", ["reproduce", "time", "--results", "{}"]),
        (race.Experiment, "load", ["race", "--results", "{}"]),
    ],
)
@pytest.mark.usefixtures("read_only")
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    module: object, work: str, command: list[object], tiny: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(module, work, no_work)
    options = [] if command[0] == "claims" else ["--dataset", tiny]
    message = fail(*(str(word).format(tmp_path) for word in command), *options)
    assert f"{tmp_path}" in message
    assert "cannot be written (Permission denied)" in message


def test_claims_refuses_an_edited_result(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"variant": "cprec", "sha256": "0"}')
    (tmp_path / "longtail.json").write_text((ROOT / "results" / "longtail.json").read_text())
    message = fail("claims", "--results", tmp_path, "--out", tmp_path / "claims.md")
    assert "x.json was edited or cut short" in message
