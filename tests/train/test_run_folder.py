"""A run as a folder: written whole, read back, refused where its files do not belong together."""

import hashlib
import json
from pathlib import Path

import pytest

from cprec_lib import TrainConfig, evaluate
from cprec_lib.files import file_hash
from cprec_lib.train import run_folder
from cprec_lib.train.checkpoints import CHECKPOINT
from cprec_lib.train.run_folder import Run
from tests.cli.shell import LONGER, SMALL, cprec_command, fail, read_metrics, succeed


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(
    ("preset", "device", "message"),
    [
        ("SASRec", "cpu", "unknown preset 'SASRec'; choose one of nextitnet, cprec, gru4rec, sasr"),
        ("cprec", "gpu", "unknown device 'gpu'; choose one of auto, cuda, mps, cpu"),
    ],
)
def test_unknown_presets_and_devices_are_refused_before_the_data(
    preset: str, device: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run_folder.train(tmp_path / "run", "ml-100k", preset, device=device)
    assert not (tmp_path / "run").exists()


def test_a_preset_is_known_by_its_exact_name() -> None:
    assert run_folder.build_config("cprec", 100, {"cutoffs": (0.1, 0.5)}).cutoffs == (10, 50)
    with pytest.raises(ValueError, match="unknown preset 'CpRec'"):
        run_folder.build_config("CpRec", 100, {})


def test_the_library_takes_a_path_for_a_data_set(tiny: Path, tmp_path: Path) -> None:
    settings = TrainConfig(epochs=1)
    metrics = run_folder.train(tmp_path, tiny, "nextitnet", training=settings, progress=False)
    assert metrics["dataset"] == read_metrics(tmp_path)["dataset"] == str(tiny)


def seal(folder: Path) -> None:
    """Write a manifest that fits the other files, whatever they hold."""
    hashes = {name: file_hash(folder / name) for name in run_folder.FILES}
    (folder / "manifest.json").write_text(json.dumps({"sha256": hashes}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.csv", b"", "is not a table of items"),
        ("items.csv", b"\xff\xfe", "is not a table of items"),
        ("items.csv", b'"item","original","count"\n1,"100",3\n', "does not list the items 1..25"),
        ("config.json", b"{", "does not describe a model"),
        ("model.safetensors", b"\0" * 64, "corrupt, cut short"),
        ("metrics.json", b"[]", "is not a metrics file"),
        ("metrics.json", b'{"dataset": 5}', "TypeError('dataset is 5'); repeat `cprec train` with"),
        ("metrics.json", b"{}", "KeyError('dataset'); repeat `cprec train` with"),
    ],
)
def test_files_that_do_not_hold_a_run_are_refused(
    name: str, content: bytes, message: str, trained: Path, tmp_path: Path
) -> None:
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_bytes(content)
    seal(tmp_path)
    assert message in fail("evaluate", "--model", tmp_path)


@pytest.mark.parametrize("name", ["reading", "model", "train_config"])
def test_a_record_of_another_version_is_refused(name: str, trained: Path, tmp_path: Path) -> None:
    run = copy_of(trained, tmp_path / "run")
    record = json.loads((run / "metrics.json").read_text())
    del record[name]
    (run / "metrics.json").write_text(json.dumps(record))
    seal(run)
    assert f"is not a metrics file: KeyError('{name}')" in fail("evaluate", "--model", run)


def copy_of(run: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in run.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


PARTS = ["config.json", "model.safetensors", "items.csv", "history.jsonl", "metrics.json"]


def test_the_manifest_lists_every_other_file_of_the_run(trained: Path) -> None:
    listed = json.loads((trained / "manifest.json").read_text())["sha256"]
    assert list(listed) == PARTS
    for name, value in listed.items():
        assert value == hashlib.sha256((trained / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", PARTS)
def test_a_file_with_a_changed_byte_is_refused_and_named(
    name: str, trained: Path, tmp_path: Path
) -> None:
    """A byte of the weights makes other weights, which nothing else would notice."""
    run = copy_of(trained, tmp_path / "run")
    content = (run / name).read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        (run / name).write_bytes(
            content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        )
        for verb in (["evaluate"], ["recommend", "103"]):
            assert f"{run / name} is not the file that manifest.json lists" in fail(
                *verb, "--model", run
            )


@pytest.mark.parametrize("name", PARTS)
def test_a_file_of_another_run_or_none_is_refused_and_named(
    name: str, trained: Path, tiny: Path, tmp_path: Path
) -> None:
    run, other = copy_of(trained, tmp_path / "run"), tmp_path / "other"
    options = [*LONGER, "--seed", "1", "--sharing", "none", "--max-len", "5", "--split", "by_user"]
    succeed("train", "--dataset", tiny, "--model", "cprec", "--out", other, *options)
    (run / name).write_bytes((other / name).read_bytes())
    assert f"{run / name} is not the file that" in fail("evaluate", "--model", run)
    (run / name).unlink()
    assert f"no finished run: {name} is missing" in fail("evaluate", "--model", run)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"sha256": 5}'])
def test_a_manifest_of_nonsense_is_refused(content: bytes, trained: Path, tmp_path: Path) -> None:
    run = copy_of(trained, tmp_path / "run")
    (run / "manifest.json").write_bytes(content)
    assert f"{run / 'manifest.json'} is not a manifest" in fail("evaluate", "--model", run)


@pytest.mark.parametrize("write", range(6))
def test_a_run_interrupted_while_it_is_written_is_refused_until_it_is_resumed(
    write: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds files of the run before and of this one."""
    command = ["train", "--dataset", tiny, "--model", "cprec", "--out", tmp_path, *SMALL]
    succeed(*command)
    written: list[Path] = []
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        if "checkpoint" not in target.name:
            written.append(target)
            if len(written) > write:
                raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        assert cprec_command(*command, "--resume", "--epochs", "4").exit_code == 130
    result = cprec_command("evaluate", "--model", tmp_path)
    if write:
        assert "model.safetensors is not the file that manifest.json lists" in result.stderr
    else:  # all that belongs together is of one run
        assert result.exit_code == 0
        assert read_metrics(tmp_path)["epochs"] == 2
    succeed(*command, "--resume", "--epochs", "4")
    assert read_metrics(tmp_path)["epochs"] == 4
    succeed("evaluate", "--model", tmp_path)


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(("lost", "options"), [([CHECKPOINT], []), ([], ["--shard"])])
def test_a_run_without_a_checkpoint_of_its_kind_is_not_trained_over(
    lost: list[str], options: list[str], tiny: Path, trained: Path, tmp_path: Path
) -> None:
    run = copy_of(trained, tmp_path / "run")
    for name in lost:
        (run / name).unlink()
    command = ["train", "--dataset", tiny, "--model", "cprec", "--out", run, "--resume", *options]
    assert "holds a run. It lacks its checkpoint, so choose another folder" in fail(*command)
    Run.load(run)


def test_the_split_has_a_seed_of_its_own(tiny: Path, tmp_path: Path) -> None:
    hashes = {}
    for seeds in ((0, 0), (3, 0), (0, 3)):
        out = tmp_path / str(seeds)
        options = [*SMALL, "--split", "by_user", "--seed", seeds[0], "--split-seed", seeds[1]]
        succeed("train", "--dataset", tiny, "--model", "cprec", "--out", out, *options)
        metrics = read_metrics(out)
        assert (metrics["seed"], metrics["split_seed"]) == seeds
        hashes[seeds] = metrics["windows_sha256"]
        loaded = Run.load(out)
        assert evaluate(loaded.model, loaded.data(), "test").metrics() == metrics["test"]
    assert hashes[0, 0] == hashes[3, 0] != hashes[0, 3]


def test_a_run_can_be_repeated_from_its_record_alone(tiny: Path, tmp_path: Path) -> None:
    options = "--split by_user --seed 2 --split-seed 5 --max-len 6 --dropout 0.1 --schedule linear"
    first, again = tmp_path / "first", tmp_path / "again"
    succeed(
        *("train", "--dataset", tiny, "--model", "cprec", "--out", first, *SMALL, *options.split())
    )
    record = read_metrics(first)
    architecture = dict(record["model_config"])
    del architecture["n_items"]
    repeated = run_folder.train(
        again,
        record["dataset"],
        record["model"],
        architecture=architecture,
        sequences={"max_len": record["max_len"], "split": record["split"]},
        split_seed=record["split_seed"],
        training=TrainConfig.from_json(record["train_config"]),
        progress=False,
    )
    name = "model.safetensors"
    assert (again / name).read_bytes() == (first / name).read_bytes()
    assert repeated["test"] == record["test"]
