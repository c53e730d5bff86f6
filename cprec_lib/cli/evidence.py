"""Verbs of the evidence: reproduce and claims."""

from __future__ import annotations

from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cprec_lib.cli.console import say
from cprec_lib.cli.options import (
    Device,
    OtherDataset,
    given,
    number_option,
    options_of,
    path_option,
    text_option,
)

if TYPE_CHECKING:
    from cprec_lib.evidence.claims import Claim
    from cprec_lib.evidence.experiments import Experiment
    from cprec_lib.evidence.settings import Setting

Results = Annotated[Path, path_option("Folder of the recorded results.")]


def reproduce_options() -> dict[str, Parameter]:
    """The options of `reproduce` that a setting defines."""
    from cprec_lib.evidence.settings import Setting

    return options_of(Setting)


def reproduce(
    groups: Annotated[
        list[str] | None,
        typer.Argument(help="Groups of runs (see --list), or time. All runs if you name none."),
    ] = None,
    dataset: OtherDataset = None,
    named: Annotated[
        str | None,
        text_option("Tuned setting, such as ml-100k-w64-authors.", "--setting", metavar="NAME"),
    ] = None,
    budget: Annotated[float | None, number_option("Seconds after which to stop.", least=0)] = None,
    device: Device = "auto",
    show: Annotated[
        bool, typer.Option("--list", help="List the groups and the missing runs; run nothing.")
    ] = False,
    results: Results = Path("results"),
    work: Annotated[Path, path_option("Folder of the runs themselves.")] = Path("build/runs"),
    again: Annotated[
        Path | None, path_option("Repeat the run of this record, and compare.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model, by its key; repeatable.")
    ] = None,
    learning_rate: Annotated[
        list[float] | None, number_option("Learning rate to try; repeatable.")
    ] = None,
    **options: Any,
) -> None:
    """Run the recorded experiments that are missing in the results. Nothing is replaced.

    An option that you omit has the value of the setting that settings.py has for the data set and
    the width.
    """
    seconds = float("inf") if budget is None else budget
    if again:
        if groups or named or model or learning_rate or show or given(options):
            raise typer.BadParameter(
                "the record says what to run; leave out groups, settings and models",
                param_hint="--again",
            )
        _repeat(again, work, dataset, seconds, device)
        return
    groups = groups or []
    only_times = {*groups} == {"time"}
    if only_times and model:
        raise typer.BadParameter(
            "time always measures the models of the group rival; leave the option out",
            param_hint="--model",
        )
    from cprec_lib.evidence import experiments, settings, variants

    dataset, setting = _setting(named, dataset, learning_rate, given(options))
    if learning_rate and len({*learning_rate, *setting.further_rates}) < 3:
        say(
            "With fewer than three learning rates the best one lies at an edge, so `cprec claims` "
            "will not count these runs. Give three --learning-rate or more, or --further-rates."
        )
    label = settings.folder_name(dataset, setting)
    keys = variants.choose([group for group in groups if group != "time"], model or ())
    if "time" in groups:
        _time(dataset, setting, results / "time" / f"{label}.json", device, show)
        if only_times:
            return
    folder = results / "records" / named if named else results / "runs" / label
    if show:
        lacking = experiments.missing(keys, dataset, setting, folder, download=False)
        _list_runs(keys, lacking, folder)
        return
    recorded = 0
    for experiment, result in experiments.reproduce(
        keys, dataset, setting, folder, work, seconds, device
    ):
        if result is None:
            say(
                f"The budget ended before the last epoch of {experiment.stem}. "
                "Repeat the command to continue from the last epoch done."
            )
            break
        recorded += 1
        say(f"{experiment.stem}: test NDCG@10 {result['test']['ndcg@10']:.4f}")
    say(f"New results in {folder}: {recorded}")


def _setting(
    named: str | None, dataset: str | None, rates: list[float] | None, chosen: dict[str, Any]
) -> tuple[str, Setting]:
    """The data set and the setting: the named or the recorded one, changed by the options."""
    from dataclasses import replace

    from cprec_lib.evidence import settings
    from cprec_lib.logs.datasets import DATASETS

    if rates:
        chosen["learning_rates"] = tuple(rates)
    if "dropout" in chosen:
        chosen.setdefault("dropouts", ())
    tuned = settings.tuned_setting(named) if named else None
    if tuned and dataset in DATASETS and dataset != tuned.dataset:
        raise ValueError(f"the setting {named} is for {tuned.dataset}, not for {dataset}")
    dataset = dataset or (tuned.dataset if tuned else "ml-100k")
    setting = tuned or settings.setting_of(dataset, chosen.get("width"))
    if setting.dropouts and rates and "dropouts" not in chosen:
        raise ValueError(
            f"the rates {setting.learning_rates} go with the dropouts {setting.dropouts}; with "
            "other rates give --dropout as well"
        )
    return dataset, replace(setting, **chosen)


def _time(dataset: str, setting: Setting, path: Path, device: Device, show: bool) -> None:
    """Record how long the models take, or say where the times are or would be."""
    from cprec_lib.evidence.experiments import time_models

    if path.exists():
        say(f"The times are already in {path}; --results FOLDER measures them again")
    elif show:
        say(f"The times would go to {path}")
    else:
        time_models(dataset, setting, path, device)
        say(f"The times are in {path}")


def _repeat(path: Path, work: Path, dataset: str | None, seconds: float, device: Device) -> None:
    from cprec_lib.evidence.experiments import run_again
    from cprec_lib.evidence.records import seeds_of

    folder = work / "again" / path.resolve().parent.name / path.stem
    runs = seeds_of(path)  # before the training, because a damaged record beside it is refused
    recorded, now = run_again(path, folder, dataset, seconds, device)
    if now is None:
        say("The budget ended before the last epoch. Repeat the command to continue.")
        return
    say(f"{'':8}{'recorded':>10}{'now':>10}  range (seeds: {len(runs)})")
    for name, before in recorded["test"].items():
        found = [run["test"][name] for run in runs]
        low, high = min(found), max(found)
        say(f"{name:8}{before:10.6f}{now['test'][name]:10.6f}  {low:.6f} to {high:.6f}")
    if len(runs) == 1:
        say(f"{path.parent} has no other seed of this run to compare the difference with.")


def _list_runs(keys: list[str], missing: list[Experiment], folder: Path) -> None:
    """List the groups and the missing runs; the recorded ones tell how long these may take.

    A variant's runs take as long as its recorded ones, or else as long as those of all variants.
    """
    from statistics import fmean

    from cprec_lib.evidence.records import read_any
    from cprec_lib.evidence.variants import GROUPS

    for group, members in GROUPS.items():
        if {member.key for member in members} & {*keys}:
            say(f"{group:14}{', '.join(member.key for member in members)}")
    say(f"\nMissing runs: {len(missing)}")
    for experiment in missing:
        say(f"  {experiment.stem}")
    recorded = {
        key: [run["seconds"] for run in runs if "seconds" in run]
        for key, runs in read_any(folder).items()
    }
    every = [seconds for own in recorded.values() for seconds in own]
    if missing and every:
        minutes = sum(fmean(recorded.get(run.variant) or every) for run in missing) / 60
        say(
            f"They take about {minutes:.0f} minutes, by the times of those recorded "
            f"({len(every)}). Their results decide which runs follow."
        )
    elif missing:
        say("Nothing is recorded here, so their time is unknown; --budget SECONDS limits it.")


def claims(
    results: Results = Path("results"),
    out: Annotated[Path, path_option("Page to write.")] = Path("docs/claims.md"),
) -> None:
    """Judge the paper's claims by the recorded results, and write the page.

    The page of the race at equal bytes is written beside it, as race.md, if a race is recorded.
    """
    from cprec_lib.evidence import race_page
    from cprec_lib.evidence.claims import judge_claims
    from cprec_lib.evidence.claims_page import to_markdown
    from cprec_lib.files import check_writable, make_folder, write_text

    if (beside := out.with_name("race.md")) == out:
        raise typer.BadParameter(
            "race.md beside it is the page of the race; give another name", param_hint="--out"
        )
    check_writable(make_folder(out.parent))  # before the work
    judged, races = judge_claims(results), race_page.read_races(results / "race")
    page, of_race = to_markdown(judged), race_page.to_markdown(races)
    write_text(out, page)
    for each in judged:
        if any(each.findings):
            _draw(each, out.parent / "figures" / f"claims-{each.claim.lower()}.png")
        say(f"{each.claim}  {each.verdict:36}{each.says}")
    say(f"Written to {out}")
    if races:
        write_text(beside, of_race)
        say(f"Written to {beside}")


def _draw(claim: Claim, path: Path) -> None:
    """Write the forest plot of a claim, in 64 colours, because it is committed often."""
    import io

    from PIL import Image

    from cprec_lib.course import figures
    from cprec_lib.files import make_folder

    make_folder(path.parent)
    picture = io.BytesIO()
    figures.forest(claim.parts).savefig(picture, dpi=100)
    Image.open(picture).convert("RGB").quantize(64).save(path, optimize=True)
