"""The claims: verdicts follow from results, and the page follows from the verdicts."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cprec_lib.evidence.claims import Claim, judge_claims
from cprec_lib.evidence.comparisons import Recorded
from cprec_lib.evidence.records import read_result, write_result
from cprec_lib.evidence.variants import VARIANTS
from tests.evidence.samples import record

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = [*(f"C{number}" for number in range(1, 10)), "Tail"]
LONG_TAIL = (ROOT / "results" / "longtail.json").read_text(encoding="utf-8")
GOOD, MIDDLING, BAD = 1, 5, 99
INSIDE = (0.003, 0.3)
TRIALS = (INSIDE, (0.001, 0.3), (0.01, 0.3), (0.003, 0.1), (0.003, 0.5))


def write_run(
    results: Path, variant: str, rank: int | np.ndarray, folder: str = "a", **more: Any
) -> None:
    """Records of a variant, tuned to a best trial inside the grid, with two seeds.

    Most of 200 users' targets have one rank, so the interval has a width, but not much of one.
    """
    for number, (rate, dropout) in enumerate((*TRIALS, INSIDE)):
        seed = number // len(TRIALS)
        ranks = np.full(200, rank)
        ranks[seed::7] = MIDDLING
        config = {"width": VARIANTS[variant].width or 64, "dropout": dropout}
        described = {"dataset": folder, "model_config": config, **more}
        if "model_config" in more:
            described["model_config"] = {**more["model_config"], "dropout": dropout}
        training = {"learning_rate": rate, "epochs": 500, "seed": seed}
        whole = record(
            variant,
            ranks,
            seed=seed,
            train_config=training,
            valid={"ndcg@10": 0.2 if (rate, dropout) == INSIDE else 0.1},
            epochs=12,
            best_epoch=7,
            **described,
        )
        write_result(results / "records" / folder / f"{variant}-{number}.json", whole)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "longtail.json").write_text(LONG_TAIL, encoding="utf-8")
    return tmp_path


def judged(results: Path) -> dict[str, Claim]:
    claims = judge_claims(results)
    assert [claim.claim for claim in claims] == CLAIMS
    return {claim.claim: claim for claim in claims}


def test_a_variant_that_is_not_known_is_refused(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_result(results / "records" / "a" / "other.json", record("martian"))
    with pytest.raises(ValueError, match=r"records.a holds runs of martian, which this version"):
        judge_claims(results)


def test_without_runs_a_claim_is_open(results: Path) -> None:
    claims = judged(results)
    assert {claims[claim].verdict for claim in ("C2", "C4", "C5", "C6", "C7", "C8", "C9")} == {
        "open"
    }
    assert claims["C3"].verdict == "holds in part"


@pytest.mark.parametrize(
    ("compressed", "one", "two"),
    [
        (BAD, "fails on a", "does not hold"),
        (GOOD, "holds on a", "holds"),
        (MIDDLING, "holds on a", "holds"),
    ],
)
def test_accuracy_takes_two_logs(compressed: int, one: str, two: str, results: Path) -> None:
    for folder, verdict in (("a", one), ("b", two)):
        write_run(results, "nextitnet", MIDDLING, folder)
        write_run(results, "cprec", compressed, folder)
        assert judged(results)["C4"].verdict == verdict


def test_logs_that_disagree_are_named(results: Path) -> None:
    for folder, rank in (("a", GOOD), ("b", GOOD), ("c", BAD)):
        write_run(results, "nextitnet", MIDDLING, folder)
        write_run(results, "cprec", rank, folder)
    assert judged(results)["C4"].verdict == "holds on a and b, fails on c"


def test_what_the_interval_leaves_open_is_undecided(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    noisy = np.where(np.arange(200) % 5 < 2, 1, 99)  # its mean is close, users differ widely
    write_run(results, "cprec", noisy)
    claim = judged(results)["C4"]
    assert claim.verdict == "open"
    assert "CpRec against NextItNet: undecided in 1 of 1." in claim.because


@pytest.mark.parametrize(
    ("changed", "flaw"),
    [
        (
            {"train_config": {"learning_rate": 0.1}, "valid": {"ndcg@10": 0.3}},
            "best learning rate is at the edge",
        ),
        (
            {"model_config": {"width": 64, "dropout": 0.8}, "valid": {"ndcg@10": 0.3}},
            "best dropout is at the edge",
        ),
        ({"epochs": 500}, "ended at the largest number of epochs"),
    ],
)
def test_what_breaks_the_rules_of_tuning_is_not_counted(
    changed: dict[str, Any], flaw: str, results: Path
) -> None:
    for key in ("nextitnet", "cprec"):
        write_run(results, key, GOOD if key == "cprec" else MIDDLING)
    assert judged(results)["C4"].verdict == "holds on a"
    whole = {"train_config": {"learning_rate": 0.003, "epochs": 500}, "dataset": "a"} | changed
    config = {"model_config": {"width": 64, "dropout": 0.3}, "valid": {"ndcg@10": 0.2}} | whole
    seed = {"seed": 2 if "epochs" in changed else 0}
    write_result(
        results / "records" / "a" / "more.json", record("cprec", [1] * 200, **config | seed)
    )
    claim = judged(results)["C4"]
    (finding,) = claim.parts[0].findings
    assert claim.verdict == "open" and finding.answer == "not counted"
    assert [flaw in each for each in finding.comparison.flaws] == [True]


def test_one_seed_is_not_counted(results: Path) -> None:
    for key in ("nextitnet", "cprec"):
        write_run(results, key, MIDDLING)
        (results / "records" / "a" / f"{key}-5.json").unlink()
    (finding,) = judged(results)["C4"].parts[0].findings
    assert finding.answer == "not counted"
    assert finding.comparison.flaws == ("no variant of the setting has a second seed",)
    assert finding.comparison.difference.estimate == 0


WIDEST, DEEP = "nextitnet-w512", "nextitnet-depth-8"


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        ({}, "open"),
        ({"nextitnet-w128": GOOD}, "open"),  # not the width that the claim names
        ({WIDEST: GOOD}, "holds on a"),
        ({WIDEST: MIDDLING}, "fails on a"),
        ({WIDEST: GOOD, DEEP: GOOD}, "holds on a"),
        ({WIDEST: GOOD, DEEP: MIDDLING}, "fails on a"),
    ],
)
def test_width_and_depth(runs: dict[str, int], verdict: str, results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    for model, rank in runs.items():
        write_run(results, model, rank)
    claim = judged(results)["C2"]
    assert claim.verdict == verdict
    assert len([*claim.findings]) == len(runs)


@pytest.mark.parametrize(("weights", "findings"), [("scaled", 1), ("authors", 0)])
def test_a_wide_setting_is_compared_with_the_narrow_one_of_its_log(
    weights: str, findings: int, results: Path
) -> None:
    narrow = {"width": 64, "initial_weights": "scaled"}
    write_run(results, "nextitnet", MIDDLING, "a", model_config=narrow)
    wide = {"width": 512, "initial_weights": weights}
    write_run(results, "nextitnet", GOOD, "wide", dataset="a", model_config=wide)
    claim = judged(results)["C2"]
    assert len([*claim.findings]) == findings
    assert claim.verdict == ("holds on a" if findings else "open")


def test_small_versions_are_told_but_do_not_judge(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "cprec", GOOD)
    write_run(results, "cprec-eighth", BAD, parameters=12)
    write_run(results, "cprec-cut-5-20", GOOD, parameters=25)
    write_run(results, "cprec-cut-2-10", BAD, parameters=26)
    write_run(results, "nextitnet-eighth", GOOD, parameters=12)
    claim = judged(results)["C4"]
    assert claim.verdict == "holds on a"
    small = claim.parts[1]
    assert "at least 4 times smaller" in small.title
    assert {f.comparison.key: f.answer for f in small.findings} == {
        "cprec-eighth": "worse",
        "cprec-cut-5-20": "as good",
    }


def write_times(results: Path, baseline: float, compressed: float, early: float) -> None:
    """A race of three rounds, in which the second was disturbed."""

    def rounds(time: float) -> list[float]:
        return [time, 10 * time, time]

    models = {"nextitnet": rounds(baseline), "cprec": rounds(compressed)}
    times: dict[str, Any] = {"training_step": models}
    for users in (1, 64):
        times |= {f"exact_{users}": models, f"early_stopping_{users}": {"cprec": rounds(early)}}
    result = record("cprec") | {"width": 8, "batch_size": 32, "precision": "float32"}
    result["milliseconds"] = times
    write_result(results / "time" / "toy.json", result)


@pytest.mark.parametrize(("time", "verdict"), [(1.0, "holds"), (2.0, "does not hold")])
def test_time(time: float, verdict: str, results: Path) -> None:
    write_times(results, 2.0, time, time * (0.5 if verdict == "holds" else 1))
    claims = judged(results)
    for claim in ("C5", "C6"):
        assert claims[claim].verdict == verdict
        ratio = f"{2 / time:.1f}"
        assert claims[claim].evidence[0].found == f"{ratio} ({ratio} to {ratio})"


def test_the_early_stopping_rule_is_compared_with_the_full_search(results: Path) -> None:
    write_times(results, 4.0, 4.0, 1.0)
    claim = judged(results)["C6"]
    assert [line.found.split()[0] for line in claim.evidence] == ["1.0", "4.0", "1.0", "4.0"]
    assert claim.verdict == "holds in part"
    assert "Early stopping is 4.0 to 4.0 times as fast as CpRec's own exact" in claim.because


def test_early_stopping_that_is_no_faster_than_the_exact_search_refutes_a_part(
    results: Path,
) -> None:
    write_times(results, 4.0, 1.0, 1.0)
    assert judged(results)["C6"].verdict == "holds in part"


def test_the_page_says_whose_initial_weights_the_deciding_comparisons_have(results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "cprec", MIDDLING)
    assert "has our initial weights, not the authors'" in judged(results)["C4"].because
    for path in (results / "records" / "a").glob("*.json"):
        run = read_result(path)
        run["model_config"] = (run["model_config"] or {}) | {"initial_weights": "authors"}
        write_result(path, run)
    assert "initial weights" not in judged(results)["C4"].because


@pytest.mark.parametrize(
    ("flat", "tree", "verdict", "why"),
    [
        (BAD, MIDDLING, "holds on a", "Flat low-rank softmax against full softmax: worse in 1"),
        (BAD, BAD, "fails on a", "Two-level softmax against full softmax: worse in 1"),
        (MIDDLING, MIDDLING, "fails on a", "Flat low-rank softmax against full softmax: as good"),
        (BAD, None, "open", "Flat low-rank softmax against full softmax: not recorded"),
    ],
)
def test_flat_against_tree(
    flat: int, tree: int | None, verdict: str, why: str, results: Path
) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "flat-softmax", flat)
    if tree is not None:
        write_run(results, "softmax-only", tree)
    claim = judged(results)["C7"]
    assert claim.verdict == verdict and claim.why.startswith(why)


@pytest.mark.parametrize(
    ("every_layer", "schemes", "verdict"),
    [
        (BAD, MIDDLING, "holds on a"),
        (MIDDLING, BAD, "fails on a"),
        (MIDDLING, MIDDLING, "fails on a"),  # as good as no sharing, but no better than the other
    ],
)
def test_sharing(every_layer: int, schemes: int, verdict: str, results: Path) -> None:
    write_run(results, "nextitnet", MIDDLING)
    write_run(results, "sharing-cross-layer", every_layer)
    for scheme in ("cross-block", "adjacent-layer", "adjacent-block"):
        write_run(results, f"sharing-{scheme}", schemes)
    assert judged(results)["C8"].verdict == verdict


@pytest.mark.parametrize(
    ("gru", "attention", "verdict"),
    [
        (GOOD, MIDDLING, "holds on a"),
        (BAD, BAD, "fails on a"),
        (BAD, GOOD, "fails on a"),
        (GOOD, None, "open"),
        (None, None, "open"),
    ],
)
def test_other_middle_layers(
    gru: int | None, attention: int | None, verdict: str, results: Path
) -> None:
    for name, rank in (("gru4rec", gru), ("sasrec", attention)):
        write_run(results, name, MIDDLING)
        if rank is not None:
            write_run(results, f"{name}-compressed", rank)
    assert judged(results)["C9"].verdict == verdict


@pytest.mark.parametrize(
    ("little", "much", "verdict"),
    [
        (MIDDLING, BAD, "holds on made-up logs"),
        (MIDDLING, GOOD, "fails on made-up logs"),
        (BAD, BAD, "fails on made-up logs"),
        (MIDDLING, None, "open"),
    ],
)
def test_the_share_outside_the_head_explains_the_loss(
    little: int, much: int | None, verdict: str, results: Path
) -> None:
    for share, rank in ((5, little), (70, much)):
        if rank is not None:
            parts = [{"end": 0.1, "users": 100 - share}, {"end": 1.0, "users": share}]
            for key, own in (("nextitnet", MIDDLING), ("cprec", rank)):
                folder = f"tail-{share}-w64"
                write_run(results, key, own, folder, test_by_popularity=parts)
    claims = judged(results)
    assert claims["Tail"].verdict == verdict
    assert "by the width" not in claims["Tail"].because  # no such run is recorded
    assert claims["C4"].verdict == "open"  # a made-up log judges no claim of the paper


def test_a_damaged_result_is_refused(results: Path) -> None:
    write_run(results, "nextitnet", GOOD)
    path = next(results.glob("records/a/*.json"))
    path.write_text(path.read_text().replace("2.13.0", "2.12.0"))
    with pytest.raises(ValueError, match="edited or cut short"):
        judge_claims(results)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b'{"data_sets": {}}',
        b'{"data_sets": {"a": {"title": "A"}}}',
        b"\xff" * 9999,
        b"[" * 10**5,
    ],
)
def test_damaged_long_tails_are_named_with_the_way_out(content: bytes, results: Path) -> None:
    (results / "longtail.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"longtail\.json is damaged .{,320}`python -m tools"):
        judge_claims(results)


def test_the_readme_shows_todays_verdicts() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    claims = {each.claim: each for each in judge_claims(ROOT / "results")}
    for each in claims.values():
        assert f"| {each.claim} | {each.says} | {each.verdict} |" in readme
    assert f"(claim C4 {claims['C4'].verdict};" in readme


def test_the_rules_quote_how_much_seeds_differ() -> None:
    rules = " ".join((ROOT / "docs" / "evidence.md").read_text(encoding="utf-8").split())
    quoted = re.search(r"half differ by more than (\d+) to (\d+) %.*? than (\d+) to (\d+) %", rules)
    tables = Recorded.read(ROOT / "results" / "records" / "ml-100k-w64").tables.values()
    spreads = []
    for means in [table.mean(1) for table in tables if len(table) == 10]:
        gaps = [abs(one - other) for one, other in combinations(means, 2)]
        spreads.append(100 * np.quantile(gaps, (0.5, 0.9)) / means.mean())
    ends = [f"{end:.0f}" for own in zip(*spreads, strict=True) for end in (min(own), max(own))]
    assert quoted and [*quoted.groups()] == ends


NAMED = re.compile(
    r"\b((?:C[1-9](?:, and |, | and )?)+|Tail(?= (?:is|holds|fails|does)\b))"
    r"((?:(?!\bC[1-9]\b)[^.?!\n|])*)"  # the rest of the sentence, up to another claim
)
SAID = re.compile(
    r"\b(?:(holds?|does not hold|do not hold|fails?)(?: only)?"
    r"(?: (in part)| on ([\w-]+(?: and (?!holds|fails)[\w-]+)*))?"
    r"|(open|confirmed|refuted|rejected|proved|proven|disproved|held|failed|true|false|wrong))\b"
)
OUTRIGHT = {False: "holds", True: "does not hold"}
NEAR = 100
"""A verdict begins within this many letters of the claim's name."""


def contradictions(text: str, verdicts: dict[str, str]) -> list[str]:
    """Sentences that name a claim and give it another verdict, or use other words for verdicts."""
    return [
        named[0]
        for named in NAMED.finditer(re.sub("[*`]", "", text))
        for said in SAID.finditer(named[2])
        for claim in re.findall("C[1-9]|Tail", named[1])
        if said.start() < NEAR and not agrees(said, verdicts[claim])
    ]


def agrees(said: re.Match[str], verdict: str) -> bool:
    """Whether a verdict is the one that is meant. Logs that it names have to be named here too."""
    negative = said[1] and said[1].startswith(("do", "fail"))
    if said[3]:
        word = "fails on" if negative else "holds on"
        parts = [part.split() for part in verdict.split(", ") if part.startswith(word)]
        return any({*said[3].split()} <= {*part} for part in parts)
    return verdict == (said[4] or (said[2] and "holds in part") or OUTRIGHT[bool(negative)])


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("So claim C4 does not hold here.", True),
        ("**C4 holds on `a`**, as the table says.", False),
        ("C4 holds on a and fails on b.", False),
        ("C4 holds only on a.", False),
        ("C4 holds.", True),
        ("C4 holds on every log.", True),
        ("C4 holds on b.", True),
        ("C4 holds on a and b.", True),
        ("C4 fails on both data sets.", True),
        ("Claim C4, on accuracy, holds on a but fails on a.", True),
        ("C4 fails.", True),
        ("C4 holds in part.", True),
        ("C2 is open.", False),
        ("C2 and C8 are open.", False),
        ("C2 and C4 are open.", True),
        ("C8 is refuted.", True),
        ("**C8 is not confirmed**: sharing is worse.", True),
        ("C3 holds in part, C5 holds.", False),
        ("C3 holds under conditions.", True),
        ("C6 does not hold.", False),
        ("C6 holds.", True),
        ("*Tail* holds on made-up logs.", False),
        ("*Tail* holds.", True),
        ("Tail is open.", True),
        ("Tail blocks hold rare items.", False),
        ("C4 says that it is as good. It does not hold water.", False),
        ("Does C4 hold on a? `globo` holds clicks.", False),
    ],
)
def test_a_contradiction_is_found(text: str, wrong: bool) -> None:
    verdicts = {
        **{"C2": "open", "C3": "holds in part", "C4": "holds on a, fails on b", "C5": "holds"},
        **{"C6": "does not hold", "C8": "open", "Tail": "holds on made-up logs"},
    }
    assert bool(contradictions(text, verdicts)) == wrong


def test_no_prose_contradicts_a_verdict() -> None:
    verdicts = {claim.claim: claim.verdict for claim in judge_claims(ROOT / "results")}
    texts = {path.name: path.read_text("utf-8") for path in ROOT.glob("*.md")}
    texts |= {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        prose = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        texts[path.name] = "\n".join(prose)
    found = {name: contradictions(text, verdicts) for name, text in texts.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
