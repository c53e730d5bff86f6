"""The benchmark: sides agree, errors are told, ratios and the README's table are right."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import child, epochs, gpu, growth, losses, neighbour, report, rounding, search
from benchmarks.contest import Side, case, contest
from benchmarks.contest import _run as run_side
from cprec_lib import BlockPartition, BlockSoftmax, SequentialRecommender, cprec, nextitnet
from cprec_lib.evidence.records import read_result, write_result
from cprec_lib.files import save_tensors
from cprec_lib.train.checkpoints import Epoch, History
from tools.measured import write_between_markers

ROOT = Path(__file__).parents[2]


# --- contest and child ---------------------------------------------------------------------------


def side(name: str, function: str, calls: int = 2, **options: float) -> Side:
    return Side(name, f"tests.benchmarks.sides:{function}", options, calls=calls, threads=1)


@pytest.fixture
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_sides_run_in_turn_and_have_their_ratios(in_root, capsys):
    found = case("one and one", [side("a", "adding", number=1), side("b", "adding", number=1)], 2)
    assert found["ours"] == "a"
    assert [len(found["sides"][name]["seconds"]) for name in "ab"] == [2, 2]
    median, low, high = found["times_as_fast"]["b"]
    assert 0 < low <= median <= high
    assert "times as fast as b" in capsys.readouterr().out


def test_memory_is_what_the_process_grew_by(in_root):
    found = contest([side("large", "adding", calls=1, number=1, grow=200_000_000)], rounds=1)
    assert 180e6 < found["large"]["bytes"][0] < 400e6


def test_a_process_does_not_inherit_its_parents_memory(in_root):
    large = torch.ones(100_000_000)  # 400 MB here
    found = contest([side("large", "adding", calls=1, number=1, grow=200_000_000)], rounds=1)
    assert found["large"]["bytes"][0] > 180e6
    assert large.sum() > 0


def test_sides_that_differ_are_an_error(in_root):
    with pytest.raises(ArithmeticError, match=r"b found \[3.0\], a found \[2.0\]"):
        contest([side("a", "adding", number=1), side("b", "adding", number=2)], rounds=1)


def test_a_side_that_fails_is_named_with_its_error(in_root):
    with pytest.raises(RuntimeError, match=r"(?s)a failed:.*a fault of its own"):
        contest([side("a", "broken")], rounds=1)


def test_a_size_that_does_not_fit_is_skipped_aloud(in_root, capsys):
    sides = [side("a", "adding", number=1), side("b", "too_large")]
    found = case("large", sides, rounds=2)
    assert "GB are free" in found["sides"]["b"]["skipped"]
    assert found["times_as_fast"] == {}
    assert capsys.readouterr().out.count("b: skipped, needs") == 1


def test_the_children_import_neither_experiments_nor_training():
    rows = ", ".join(
        f"benchmarks.{row}" for row in ("losses", "search", "epochs", "growth", "loading")
    )
    said = "import sys; print([n for n in sys.modules if n.startswith('cprec_lib')])"
    command = [sys.executable, "-c", f"import {rows}; {said}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert loaded & {"cprec_lib.evidence.statistics"}
    assert not loaded & {"cprec_lib.evidence.experiments", "cprec_lib.train.training"}


# --- the rows' sides compute the same ------------------------------------------------------------


def test_layers_of_a_group_agree():
    found = {name: losses.both_ways(name, 2000, 64)() for name in losses.LAYERS}
    assert found["blocks"] == pytest.approx(found["adaptive"], rel=1e-4)
    assert found["full"] == pytest.approx(found["plain"], rel=1e-4)
    for chunk in losses.TRIED:
        assert found[f"linear {chunk}"] == pytest.approx(found["plain"], rel=1e-4)
    assert found["sampled"] != pytest.approx(found["plain"], rel=1e-4)  # an estimate


@pytest.mark.parametrize("at_once", [1, search.AT_ONCE])
def test_searches_of_a_group_agree(tmp_path, at_once):
    model = SequentialRecommender(cprec(3000, search.WIDTH, search.SHARES, dilations=(1,)))
    model.save(tmp_path)
    hidden = {"hidden": torch.randn(search.AT_ONCE, search.WIDTH)}
    save_tensors(tmp_path / "hidden.safetensors", hidden)
    ways = (search.with_bounds, search.without_bounds, search.all_log_probs)
    ours, *others = [way(str(tmp_path), 3000, at_once)() for way in ways]
    assert all(other == pytest.approx(ours, rel=1e-4, abs=1e-4) for other in others)
    table, sub_items = (
        way(str(tmp_path), 3000, at_once)() for way in (search.full_table, search.sub_items)
    )
    assert sub_items == pytest.approx(table, rel=1e-4, abs=1e-4)


def test_every_size_is_measured_and_slow_sides_have_one_call():
    items = {50_000, 300_000, 1_000_000}
    assert {size[:2] for size in losses.SIZES} == {(n, t) for n in items for t in (1024, 8192)}
    assert set(search.SIZES) == set(losses.CHUNKS) == items
    assert set(losses.CHUNKS.values()) <= set(losses.TRIED)
    calls = {side.name: side.calls for side in losses._sides(300_000, 1024)}
    assert calls["BlockSoftmax"] == calls["torch AdaptiveLogSoftmaxWithLoss"] == 3
    assert calls["FullSoftmax"] == calls["plain cross-entropy"] == 1
    assert [side.calls for side in epochs._sides(300_000, 512)] == [3, 1]
    assert [side.calls for side in search._sides("", 300_000, 64)] == [3, 3, 3, 3, 1]


def test_the_memory_of_a_loss_is_that_of_its_logits_and_weights():
    gigabytes = {
        layer: losses.needed(layer, 1_000_000, 1024) / 1e9
        for layer in ("blocks", "adaptive", "plain", "linear 256", "full")
    }
    assert gigabytes == pytest.approx(
        {"blocks": 0.28, "adaptive": 2.3, "plain": 15.4, "linear 256": 4.1, "full": 3.1}, abs=0.1
    )


def test_chunk_sizes_are_measured_beside_each_other(monkeypatch):
    seconds = iter([[3, 5], [1], [4], [4], [4]])
    monkeypatch.setattr(
        losses, "contest", lambda sides, *_: {s.name: {"seconds": next(seconds)} for s in sides}
    )
    assert losses.chunk_seconds(50_000) == dict(
        zip((f"linear {chunk}" for chunk in losses.TRIED), (4, 1, 4, 4, 4), strict=True)
    )


def test_a_torch_without_the_chunked_loss_is_told_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.nn.modules.linear_cross_entropy_options", None)
    options = {"layer": "linear 128", "n_items": 2000, "tokens": 64}
    said = child.measure("benchmarks.losses:both_ways", options, calls=1, threads=0)["skipped"]
    assert said.startswith(f"torch {torch.__version__} lacks it")
    assert said.endswith("-m pip install -r requirements.lock")


def test_floors_stand_beside_every_search(monkeypatch):
    model = SequentialRecommender(cprec(3000, search.WIDTH, search.SHARES, dilations=(1,)))
    hidden = torch.randn(search.AT_ONCE, search.WIDTH)
    monkeypatch.setattr(search, "QUICK", (3000,))
    monkeypatch.setattr(search, "trained", lambda n_items: (model, hidden))
    monkeypatch.setattr(search, "case", lambda name, sides, rounds: {"case": name, "sides": {}})
    threads = torch.get_num_threads()
    result = search.row(quick=True)
    assert [case["searches_per_call"] for case in result["cases"]] == [search.IN_A_ROW, 1]
    for found in result["cases"]:
        for name, side in found["sides"].items():
            assert name.startswith("floor")
            assert len(side["seconds"]) == 2 and min(side["seconds"]) > 0
    blocks, table = search.bytes_read(model).values()
    assert model.softmax.root.weight.nbytes < blocks < table == 4 * 3000 * search.WIDTH
    assert torch.get_num_threads() == threads


def test_the_twin_has_the_weights_of_the_blocks():
    block = BlockSoftmax(BlockPartition.decaying(300, (30, 100), 16))
    hidden = torch.randn(5, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            losses.stock_twin(block).log_prob(hidden), block.log_prob(hidden)
        )


def test_rules_are_compared_on_a_model():
    model = SequentialRecommender(cprec(3000, 16, search.SHARES, dilations=(1,)))
    found = search.rules_of(model, torch.randn(40, 16))
    assert all(0 <= share <= 1 for share in found.values())
    assert found["spared_by_bounds"] >= found["spared_by_tokens"]


@pytest.mark.parametrize("form", ["int8", "int4", "int4 in groups of 16"])
def test_a_rounded_search_is_not_many_times_slower(form):
    """Far above the ratios of docs/benchmarks.md: on a busy machine they vary."""
    for config in rounding._configs(10_000, 64).values():
        slower = rounding.times_as_long(rounding.searches(config, {form: rounding.FORMS[form]}))
        assert slower[form] < 4


def test_the_fastest_rounds_are_compared():
    seconds = {"float32": [4.0, 2.0], "int8": [3.0, 9.0]}
    assert rounding.times_as_long(seconds) == {"int8": 1.5}


def test_models_of_an_epoch_see_the_same_targets():
    found = [epochs.step(model, 500, 16)() for model in ("CpRec", "NextItNet")]
    assert found[0] == found[1] and found[0][0] == epochs.BATCH * epochs.LENGTH


def test_a_timed_step_finds_its_moments_made(monkeypatch):
    made = []

    class Watched(torch.optim.AdamW):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    epochs.step("CpRec", 500, 16)
    (optimizer,) = made
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    assert all("exp_avg_sq" in optimizer.state[p] for p in parameters)


def test_gpu_epochs_are_those_of_fit_but_for_the_first(data, capsys, monkeypatch):
    plans = []

    def fit(model, data, plan, progress):
        plans.append(plan)
        own = 1.0 if model.config.decomposed else 3.0
        return History([Epoch(n, 0.0, 50.0 if n == 1 else own + n, {}) for n in range(1, 6)])

    monkeypatch.setattr(gpu, "fit", fit)
    found = gpu.case("bfloat16, compiled", 8, data, torch.device("cpu"))
    assert all(plan.precision == "bfloat16" and plan.compile for plan in plans)
    sides = found["sides"]
    assert sides["CpRec"]["seconds"] == [3.0, 4.0, 5.0, 6.0]
    assert sides["NextItNet"]["seconds"] == [5.0, 6.0, 7.0, 8.0]
    assert found["times_as_fast"]["NextItNet"] == (1.45, 8 / 6, 5 / 3)
    assert all(side["bytes"] > 0 for side in sides.values())
    assert "compiled, NextItNet: 5.00" in capsys.readouterr().out


def test_gpu_epochs_run_on_any_device(data):
    sides = gpu.case("float32", 8, data, torch.device("cpu"))["sides"]
    assert all(
        len(s["seconds"]) == gpu.EPOCHS - 1 and min(s["seconds"]) > 0 for s in sides.values()
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_row_is_skipped_aloud(capsys):
    assert gpu.row(quick=True)["skipped"] in capsys.readouterr().out


def test_a_skipped_row_leaves_a_recorded_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "row", lambda quick: {"title": "T", "skipped": "no GPU"})
    command.main(["gpu", "--out", str(tmp_path)])
    assert read_result(tmp_path / "gpu.json")["skipped"] == "no GPU"
    write_result(tmp_path / "gpu.json", {"title": "T", "cases": [1]})
    command.main(["gpu", "--out", str(tmp_path)])
    assert read_result(tmp_path / "gpu.json") == {"title": "T", "cases": [1]}
    assert "gpu.json is not changed" in capsys.readouterr().out


def test_the_memory_of_a_step_is_asked_for(monkeypatch):
    monkeypatch.setattr(epochs, "require", lambda n_bytes: child.require(1e18 + n_bytes))
    options = {"model": "NextItNet", "n_items": 500, "width": 16}
    assert "GB are free" in child.measure("benchmarks.epochs:step", options, 1, 0)["skipped"]
    gigabytes = [epochs.needed(model(300_000, 512)) / 1e9 for model in (cprec, nextitnet)]
    assert gigabytes == pytest.approx([1.3, 5.6], abs=0.1)


def test_the_growth_of_a_straight_line_is_one():
    sizes = (10_000, 100_000, 1_000_000)
    cases = [{"sides": {"a": {"seconds": [n / 7], "bytes": [n**0.5]}}} for n in sizes]
    assert growth._exponent(sizes, cases, "a", "seconds") == pytest.approx(1)
    assert growth._exponent(sizes, cases, "a", "bytes") == pytest.approx(0.5)
    assert growth._exponent(sizes[:2], cases[:2], "a", "seconds") is None


@pytest.mark.parametrize(("layer", "megabytes"), [("BlockSoftmax", 1.1), ("FullSoftmax", 8.1)])
def test_growth_measures_a_finite_loss(layer, megabytes, monkeypatch):
    asked = []
    monkeypatch.setattr(growth, "require", asked.append)
    assert 0 < growth.both_ways(layer, 10_000)()[0] < 20
    assert asked == [pytest.approx(1e6 * megabytes, rel=0.05)]


# --- the command, and what is made of the results ------------------------------------------------


def test_an_unknown_row_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["speed"])
    assert "unknown row 'speed'; choose from losses" in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(losses, "row", lambda quick: pytest.fail("run all the same"))
    with pytest.raises(SystemExit):
        command.main(["losses", "--out", str(tmp_path / "file")])
    assert "cannot make the folder" in capsys.readouterr().err


def test_a_row_is_stored_with_its_seal_machine_and_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "row", lambda quick: {"title": "T", "cases": [], "quick": quick})
    command.main(["losses", "--quick", "--out", str(tmp_path)])
    found = read_result(tmp_path / "losses.json")
    assert found["quick"] and {"commit", "date", "cores", "versions", "minutes"} <= set(found)


def test_comparisons_leave_out_what_was_skipped():
    sides = {"a": {"seconds": [1]}, "b": {"seconds": [3]}, "c": {"skipped": "no room"}}
    cases = [{"case": "x", "ours": "a", "sides": sides, "times_as_fast": {"b": [3, 3, 3]}}]
    table = report.comparisons({"cases": cases})
    assert table.drop(columns="memory").values.tolist() == [["x", "a", "b", 3, 3, 3]]
    assert table["memory"].isna().all()


def test_the_pages_show_the_recorded_results():
    table = report.shown()
    for path, text in report.pages(table).items():
        assert path.read_text(encoding="utf-8") == text, "run python -m benchmarks.report"
    recorded = [row for row in report.BRIEF if row in {*table["row"]}]
    assert report.brief(table)["row"].tolist() == recorded
    assert set(report.BRIEF) - {*recorded} <= {"big"}  # its largest case has no rival


def test_rows_without_a_comparison_are_left_out_aloud(tmp_path, capsys):
    write_result(tmp_path / "recbole.json", {"title": "T", "skipped": "no network"})
    with pytest.raises(ValueError, match="python -m benchmarks"):
        report.shown(tmp_path)
    sides = {"a": {"seconds": [1]}, "b": {"seconds": [3]}}
    large, faster = "1,000,000 items, 1 at once", {"b": [3, 3, 4]}
    found = {"case": large, "ours": "a", "sides": sides, "times_as_fast": faster}
    write_result(tmp_path / "search.json", {"cases": [found]})
    write_result(tmp_path / "epochs.json", {"cases": [{**found, "times_as_fast": {}}]})
    assert report.markdown(report.shown(tmp_path)).splitlines()[3:] == [
        f"| exact top-10 ({large}) | a | b | 3.0 (3.0 to 4.0) |  |"
    ]
    said = capsys.readouterr().out
    assert "recbole is omitted: no network" in said
    assert "losses is omitted: it has not been run" in said
    assert "epochs is omitted: no two sides could be run" in said


def test_a_pages_place_must_be_marked_once():
    text = 2 * "<!-- benchmark --><!-- /benchmark -->"
    with pytest.raises(ValueError, match=r"page\.md has 2 places"):
        write_between_markers(text, "benchmark", "", "page.md")


def test_a_record_names_the_device_of_the_rows(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert command._provenance()["device"] == child.chosen_device().type == "cpu"


def test_every_recorded_row_is_whole():
    for path in command.RESULTS.glob("*.json"):
        result = read_result(path)
        assert result.get("cases") or result["served"], path.name
        assert result["title"], path.name
        for found in result.get("cases", ()):
            assert found["ours"] in found["sides"], path.name


def test_an_edited_result_is_refused(tmp_path):
    path = tmp_path / "search.json"
    write_result(path, {"cases": []})
    path.write_text(json.dumps({**json.loads(path.read_text()), "title": "another"}))
    with pytest.raises(ValueError, match="edited"):
        report.shown(tmp_path)


# --- beside a neighbour --------------------------------------------------------------------------


def test_a_side_has_its_environment_and_its_neighbours(in_root, monkeypatch):
    monkeypatch.setenv("CPREC_TEST", "here")
    plain = side("plain", "surroundings", calls=1, variable="CPREC_TEST")
    others = len(psutil.Process().children())
    for changes, expected in (
        ({}, [1, 1]),
        ({"environment": {"CPREC_TEST": ""}}, [0, 1]),
        ({"neighbours": 2}, [1, 3]),
    ):
        found = run_side(replace(plain, **changes))["numbers"]
        assert [found[0], found[1] - others] == expected
    assert len(psutil.Process().children()) == others


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_spinning_is_bounded_unless_the_user_chose(before, expected):
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    code = "import os, cprec_lib; print(os.environ.get('GOMP_SPINCOUNT'))"
    for first, found in (("", expected), ("import torch; ", before.get("GOMP_SPINCOUNT", "None"))):
        command = [sys.executable, "-c", first + code]
        done = subprocess.run(
            command, cwd=ROOT, env=environment | before, capture_output=True, text=True
        )
        assert (done.stdout.strip(), done.stderr) == (found, "")


def test_steps_beside_a_neighbour_are_those_of_an_epoch(monkeypatch):
    monkeypatch.setattr(neighbour, "STEPS", 3)
    once = epochs.step("CpRec", 100, 8)()
    assert neighbour.steps("CpRec", 100, 8)() == 3 * once == neighbour.steps("NextItNet", 100, 8)()
