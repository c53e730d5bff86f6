"""The benchmark's tables and picture, from its records: `python -m benchmarks.report`.

docs/benchmarks.md shows all comparisons, the README one for each task. The load of the server has a
table of its own in both. The logs on a disk have one in docs/benchmarks.md, because the largest is
too large for the others; so have rounded models, whose aim is an upper limit.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from benchmarks.__main__ import RESULTS
from cprec_lib.course.figures.comparison import estimates
from cprec_lib.evidence.bootstrap import Interval
from cprec_lib.evidence.records import Sealed, read_result
from cprec_lib.evidence.statistics import carried
from tools.measured import write_between_markers

ROOT = RESULTS.parent.parent
# For these rows, the largest case with all rivals; an empty list means every case.
CASES = {
    "losses": ["1,000,000 items, 1,024 predictions"],
    "search": ["1,000,000 items, 1 at once"],
    "epochs": [],
    "loading": [],
    "big": [],
    "recbole": [],
}
TASKS = {
    "losses": "loss and gradients",
    "search": "exact top-10",
    "epochs": "training epoch",
    "loading": "ratings file to tensors",
    "big": "log on a disk",
    "recbole": "training until a",
}
# The rival that the README shows for each task: what a user would otherwise use.
BRIEF = {
    "losses": "torch AdaptiveLogSoftmaxWithLoss",
    "search": "full table, top-k",
    "epochs": "NextItNet",
    "loading": "pandas",
    "big": "pandas",
    "recbole": "RecBole 1.2.1",
}


def shown(folder: Path = RESULTS) -> pd.DataFrame:
    """The comparisons that the page shows; prints which rows have none and why.

    Raises ValueError if no row has any.
    """
    tables = []
    for name, cases in CASES.items():
        path = folder / f"{name}.json"
        result = read_result(path) if path.exists() else {"skipped": "it has not been run"}
        table = comparisons({"cases": [], **result})  # a skipped row has no cases
        table = table[table["case"].isin(cases or table["case"])]
        if table.empty:
            print(f"{name} is omitted: {result.get('skipped', 'no two sides could be run')}")
        else:
            case = TASKS[name] + " " + _joined(table["case"])
            tables.append(table.assign(row=name, case=case))
    if not tables:
        raise ValueError(f"no comparison in {folder}; `python -m benchmarks` measures them")
    return pd.concat(tables, ignore_index=True)


def brief(table: pd.DataFrame) -> pd.DataFrame:
    """The first comparison of each row with its rival in BRIEF."""
    return table[table["rival"] == table["row"].map(BRIEF)].drop_duplicates("row")


def comparisons(result: Sealed) -> pd.DataFrame:
    """A line for each rival of a benchmark's row: how many times ours is as fast, and the memory.

    Columns: case, ours, rival, faster, lowest, highest, memory (times ours; NaN where unknown).
    """
    lines = [
        (case["case"], case["ours"], rival, *ratios, case.get("times_the_memory", {}).get(rival))
        for case in result["cases"]
        for rival, ratios in case["times_as_fast"].items()
    ]
    columns = ["case", "ours", "rival", "faster", "lowest", "highest", "memory"]
    return pd.DataFrame(lines, columns=columns).astype({"memory": float})


def _joined(cases: pd.Series) -> pd.Series:
    return cases.where(cases.str.startswith("validation"), "(" + cases + ")")


def markdown(table: pd.DataFrame) -> str:
    """A table of comparisons."""
    lines = [
        "",
        "| task | ours | beside | times as fast | times less memory |",
        "|---|---|---|---:|---:|",
    ]
    for line in table.itertuples():
        ratio = f"{_number(line.faster)} ({_number(line.lowest)} to {_number(line.highest)})"
        memory = "" if math.isnan(line.memory) else _number(line.memory)
        lines.append(f"| {line.case} | {line.ours} | {line.rival} | {ratio} | {memory} |")
    return "\n".join([*lines, ""])


def _number(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


def picture(table: pd.DataFrame) -> Any:
    """One dot per comparison, with its lowest and highest round, on a log scale."""
    figure = estimates(
        {
            f"{line.case}\n{line.rival}": Interval(line.faster, line.lowest, line.highest)
            for line in table.itertuples()
        },
        "times as fast (log scale)",
        "Ours beside what else does it",
        reference=1,
    )
    figure.axes[0].set_xscale("log")
    return figure


def serving(result: Sealed, others: bool = True) -> str:
    """A table of the server's latencies: 500 requests a second, and how many it carries.

    `others` shows a third and a tenth of the load, and what else a user could serve, as well.
    """
    columns = (
        "| served | requests a second | reached | p50 | p90 | p99 | errors | carries | memory |"
    )
    lines = ["", columns, "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for served in result["served"]:
        if not others and served["way"] != "exported":
            continue
        most = carried([*served["loads"], *served["tried"]])
        carries, memory = f"{most:.0f} a second", _beyond_tables(served["memory"])
        for load in served["loads"] if others else served["loads"][:1]:
            numbers = (f"{load[name]:.1f} ms" for name in ("p50", "p90", "p99"))
            cells = [f"{load['asked']:.0f}", f"{load['reached']:.0f}", *numbers, load["errors"]]
            lines.append(
                "| " + " | ".join(map(str, [served["name"], *cells, carries, memory])) + " |"
            )
            carries = memory = ""
    return "\n".join([*lines, ""])


def _beyond_tables(memory: dict[str, Any]) -> str:
    """Megabytes that are private to the process, all, and of these the model's mapped files."""
    found = memory["after"]
    if found is None:
        return ""
    private, total, mapped = (found[k] / 1e6 for k in ("private", "all", "mapped_model"))
    return f"{private:.0f} MB private, {total:.0f} MB with {mapped:.0f} MB of the model's files"


def on_disk(result: Sealed) -> str:
    """A table of the seconds and the memory of each way from a log on a disk."""
    lines = ["", "| task | way | seconds | memory |", "|---|---|---:|---:|"]
    for case in result["cases"]:
        for name, side in case["sides"].items():
            lines.append(f"| {case['case']} | {name} | {_cost(side)} |")
    return "\n".join([*lines, ""])


def _cost(side: dict[str, Any]) -> str:
    """Medians of the rounds, or why there are none."""
    if "skipped" in side:
        return f"omitted: {side['skipped']} |"
    return f"{median(side['seconds']):.0f} | {median(side['bytes']) / 1e9:.2f} GB"


def rounded(result: Sealed) -> str:
    """A table of how many times as long a search takes in each form of a model as in float32."""
    forms = list(result["cases"][0]["times_as_long"])
    lines = ["", f"| model | {' | '.join(forms)} |", "|---|" + "---:|" * len(forms)]
    for case in result["cases"]:
        cells = (f"{case['times_as_long'][form]:.2f}" for form in forms)
        lines.append(f"| {case['case']} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def pages(table: pd.DataFrame, folder: Path = RESULTS) -> dict[Path, str]:
    """The files that show the comparisons and, if it is recorded, the load, each with its text."""
    page, readme = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
    shown_in = {page: table, readme: brief(table)}
    texts = {
        path: write_between_markers(
            path.read_text(encoding="utf-8"), "benchmark", markdown(some), path.name
        )
        for path, some in shown_in.items()
    }
    for mark, rows_of in {"big": on_disk, "rounding": rounded}.items():
        result = _recorded(folder / f"{mark}.json")
        if "cases" in result:
            texts[page] = write_between_markers(texts[page], mark, rows_of(result), page.name)
    result = _recorded(folder / "serving.json")
    if "served" in result:
        for path in texts:
            rows = serving(result, others=path == page)
            texts[path] = write_between_markers(texts[path], "serving", rows, path.name)
    return texts


def _recorded(path: Path) -> Sealed:
    return read_result(path) if path.exists() else {}


def main() -> None:
    """Write the tables and the picture."""
    table = shown()
    for path, text in pages(table).items():
        path.write_text(text, encoding="utf-8", newline="\n")
    picture(table).savefig(ROOT / "docs" / "benchmark.png", dpi=100)


if __name__ == "__main__":
    main()
