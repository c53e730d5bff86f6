"""What all verbs of `cprec` have in common: help, errors, interruptions."""

import random
import re
import time
from pathlib import Path

import pytest
import torch

from cprec_lib.logs import datasets
from tests.cli.shell import cprec_command, fail, start, succeed

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), BrokenPipeError(32, "pipe")])
def test_other_verbs_can_be_interrupted(
    raised: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, data_dir: object) -> None:
        raise raised

    monkeypatch.setattr(datasets, "load_interactions", load)
    result = cprec_command("data", "ml-100k")
    assert result.exit_code == (130 if isinstance(raised, KeyboardInterrupt) else 1)
    assert "Traceback" not in result.output


def test_the_program_reports_errors_on_standard_error(tmp_path: Path) -> None:
    program = start("evaluate", "--model", "nowhere", folder=tmp_path)
    output, errors = program.communicate()
    assert (program.returncode, output) == (1, "")
    assert errors.startswith("Error: nowhere holds no finished run: config.json")
    assert len(errors.splitlines()) == 1


def test_help_names_every_verb() -> None:
    output = succeed("--help")
    for verb in ("doctor", "data", "train", "evaluate", "recommend", "workbook"):
        assert f" {verb} " in output


# Hostile values

# Of pydantic, which typer asks for the value of an option that has no parser.
INNER_WORDS = re.compile("Value error|Input should|validation error", re.IGNORECASE)

HOSTILE = [
    *("", " ", ",", "-5", "0", "-1", "1.5", "nan", "1e999", "9" * 30, "٣", "a,b", "1,,2"),
    *(
        "~nobody/x",
        "/dev/null/x",
        "loop",
        "x\0y",
        "\x1b[2J",
        "\ud800",
        "é" * 3000,
        "--",
        "__class__",
    ),
]


@pytest.mark.filterwarnings("default")
def test_no_option_of_any_verb_ends_in_a_traceback(
    tiny: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option of each verb gets one hostile value, and more of them until 20 s are over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "compile", lambda function: function)  # it takes half a minute
    Path("loop").symlink_to("loop")
    model = "--dataset {tiny} --model cprec --width 2 --dilations 1 --epochs 1 --out {out}"
    valid = {
        "data": "{tiny}",
        "train": model,
        "evaluate": "--model {trained}",
        "recommend": "--model {trained} 100",
        "compress": "--dataset {tiny} --budget 2x --minutes 0 --out {out}",
        "export": "--model {trained} --out {out}",
        "serve": "{out}",
        "reproduce": "--list --dataset {tiny} --results {out} --work {out}",
        "claims": "--results {out} --out {out}/claims.md",
        "workbook": "--out {out}",
    }
    tries = [
        (verb, option, value)
        for verb in valid
        for option in ["", *re.findall("^  (--[a-z-]+)", succeed(verb, "--help"), re.MULTILINE)]
        for value in HOSTILE
        if option != "--help"
    ]
    random.Random(0).shuffle(tries)
    first = list({(verb, option): (verb, option, value) for verb, option, value in tries}.values())
    assert len(first) > 100
    deadline = time.monotonic() + 20
    for number, (verb, option, value) in enumerate([*first, *tries]):
        if number > len(first) and time.monotonic() > deadline:
            break
        places = {"tiny": tiny, "trained": trained, "out": f"out{number}"}
        arguments = [word.format(**places) for word in valid[verb].split()]
        result = cprec_command(verb, *arguments, *filter(None, [option]), value)
        tried = f"{verb} {arguments} {option} {value!r}"
        assert result.exit_code in (0, 1, 2), f"{tried}: {result.exception!r}"
        assert isinstance(result.exception, SystemExit | None), f"{tried}: {result.exception!r}"
        assert "\x1b" not in result.output, tried
        assert not INNER_WORDS.search(result.output), f"{tried}: {result.output}"


@pytest.mark.parametrize("option", ["--out", "--dataset"])
@pytest.mark.parametrize("empty", ["", " "])
def test_empty_paths_are_refused(option: str, empty: str, tmp_path: Path) -> None:
    command = {"--dataset": "x", "--out": str(tmp_path), option: empty}
    words = [word for pair in command.items() for word in pair]
    assert f"'{option}'" in fail("train", "--model", "cprec", *words, status=2)


@pytest.mark.parametrize(
    "command",
    [
        "evaluate --model",
        "claims --results",
        "claims --out",
        "reproduce --work",
        "workbook --out",
        "data --data-dir",
    ],
)
def test_other_empty_paths_are_refused(command: str) -> None:
    assert "the path is empty" in fail(*command.split(), "", status=2)


@pytest.mark.parametrize(
    "command", ["serve x --host", "reproduce --setting", "evaluate --model x --separator"]
)
def test_empty_texts_are_refused(command: str) -> None:
    """An empty host would listen on every address, an empty setting would be the usual one."""
    assert f"'{command.split()[-1]}': it is empty" in fail(*command.split(), "", status=2)


def test_a_folder_of_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPREC_DATA", "~nobody_here/x")
    assert "home directory" in fail("data")


def test_a_rank_without_other_processes_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert "nowhere holds no" in fail("evaluate", "--model", "nowhere")


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK"])
def test_variables_of_a_launcher_are_numbers_or_empty(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for empty in ("", " "):
        monkeypatch.setenv(name, empty)
        assert "nowhere holds no" in fail("evaluate", "--model", "nowhere")
    monkeypatch.setenv(name, "two")
    message = fail("evaluate", "--model", "nowhere")
    assert f"{name} is 'two' in the environment, not a number; unset it" in message


def test_other_faults_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, data_dir: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(datasets, "load_interactions", load)
    assert isinstance(cprec_command("data", "ml-100k").exception, RuntimeError)
