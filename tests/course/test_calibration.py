"""The step that compares machines, and what a notebook's header records of it."""

import json
from pathlib import Path

import pytest
import torch

from cprec_lib.course import calibration
from cprec_lib.course.calibration import Measurement, comment, read_measurement


def put(path: Path, *sources: str) -> Path:
    cells = [{"cell_type": "markdown", "source": source} for source in sources]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


def header(took: str) -> str:
    said = f"Measured on 2 CPU cores: {took}, 0.6 GB."
    return f"Run time: <!-- measured -->{said}{comment(0.0412)}<!-- /measured --> and so on"


def test_a_step_takes_some_time_and_draws_no_random_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibration, "SECONDS", 0.0)
    monkeypatch.setattr(calibration, "LONGEST", 0.0)
    before = torch.get_rng_state()
    assert 1e-4 < calibration.step_seconds() < 10
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("took", "seconds"), [("86 s", 86), ("3.5 min", 210)])
def test_a_header_is_read(took: str, seconds: float, tmp_path: Path) -> None:
    found = read_measurement(put(tmp_path / "a.ipynb", header(took), "more text"))
    assert found == Measurement(seconds, 0.0412)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "<!-- measured -->Measured on 2 CPU cores: 27 s, 0.6 GB.<!-- /measured -->",
        header("1.2.3 s"),
        header("soon"),
        header("27 s").replace("41.20", "0.00"),
    ],
)
def test_a_header_without_both_numbers_records_nothing(source: str, tmp_path: Path) -> None:
    assert read_measurement(put(tmp_path / "a.ipynb", source, header("27 s"))) is None


def test_what_cannot_be_read_records_nothing(tmp_path: Path) -> None:
    assert read_measurement(tmp_path / "not_there.ipynb") is None
    (tmp_path / "damaged.ipynb").write_bytes(b"\xff{")
    assert read_measurement(tmp_path / "damaged.ipynb") is None
    assert read_measurement(put(tmp_path / "empty.ipynb")) is None
