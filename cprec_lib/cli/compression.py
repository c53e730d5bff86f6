"""The verbs compress and race."""

from __future__ import annotations

import time
from collections import Counter
from inspect import Parameter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cprec_lib import machine
from cprec_lib.checks import check_share
from cprec_lib.cli.console import say
from cprec_lib.cli.options import (
    LARGEST,
    Device,
    ItemColumn,
    OtherDataset,
    OutFolder,
    Separator,
    TimeColumn,
    UserColumn,
    data_option,
    given,
    number_option,
    path_option,
    reading,
    text_option,
    whole_option,
)
from cprec_lib.cli.training import option_groups, train_options

if TYPE_CHECKING:
    from cprec_lib.compress.budget import Race, Result
    from cprec_lib.train.evaluation import Ranks
    from cprec_lib.train.run_folder import Run

BLOCKS = ("block_input", "block_softmax", "cutoffs", "factor", "tree", "widths")
"""Options of blocks, which the uncompressed model does not have."""


def share(text: str) -> float:
    """A share such as 1% or 0.01, at least 0 and below 1."""
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        check_share("loss", number)
    except ValueError as error:
        raise typer.BadParameter(f"{text[:40]!r} is not a share; give one such as 1%") from error
    return number


def compress_options() -> dict[str, Parameter]:
    """The options of `train` that an uncompressed model has."""
    return train_options(leave_out=BLOCKS)


Racers = Annotated[
    list[str] | None,
    text_option("Only this racer, such as 'tied' or 'tied, int8'; repeatable.", metavar="NAME"),
]
Distillation = Annotated[
    float | None,
    typer.Option(
        help="Share of the training loss that comes from the uncompressed model, such as 0.5.",
        parser=share,
        metavar="SHARE",
    ),
]


def compress(
    budget: Annotated[
        str,
        text_option(
            "Largest size of the tensors: 500kB, 2MB, or 8x for an eighth of the uncompressed "
            "model's. The header of the file, a few kB, comes on top.",
            metavar="SIZE",
        ),
    ],
    out: OutFolder,
    dataset: OtherDataset = None,
    model: Annotated[
        Path | None, path_option("Run of the uncompressed model, instead of training one.")
    ] = None,
    loss: Annotated[
        float | None,
        typer.Option(
            help="Stop at the first model that is shown to lose less NDCG@10, such as 1%.",
            parser=share,
            metavar="SHARE",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        number_option(
            "Minutes after which no epoch starts; the uncompressed model gets at most half.",
            least=0,
        ),
    ] = None,
    racer: Racers = None,
    distillation: Distillation = None,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    separator: Separator = None,
    device: Device = "auto",
    **options: Any,
) -> None:
    """Find the most accurate model within a number of bytes.

    Trains an uncompressed NextItNet, or takes the run of --model. Then it tries ways to make the
    model small: first rounding, which needs no training, then others, each as wide as the budget
    allows. It writes the best model as a run. Pruned models, and models trained further after
    rounding, get a few more epochs than the others. The other options are those of `train`, for
    the uncompressed model.
    """
    deadline = None if minutes is None else time.time() + 60 * minutes
    chosen = {group: given(options, names) for group, names in option_groups(BLOCKS).items()}
    if model is None and dataset is None:
        raise typer.BadParameter("name the data by --dataset, or a run by --model")
    if model is not None and (extra := [*chain.from_iterable(chosen.values())]):
        raise typer.BadParameter(
            "it is an option of the training, but the run of --model is trained already",
            param_hint="--" + extra[0].replace("_", "-"),
        )
    from cprec_lib.compress.budget import check_uncompressed, compress, parse_budget
    from cprec_lib.compress.racers import named
    from cprec_lib.compress.runs import check_free, header_bytes, write_best
    from cprec_lib.files import check_writable, make_folder
    from cprec_lib.machine import choose_device
    from cprec_lib.train.config import TrainConfig
    from cprec_lib.train.evaluation import evaluate
    from cprec_lib.train.run_folder import WEIGHTS, Run

    # Faults of the options come up before the data and the training, which take time.
    parse_budget(budget, 10**30)  # no model is that large
    named(racer or ())
    check_free(out)
    columns = reading(user_column, item_column, time_column, separator)
    if model is not None:
        run = Run.load(model)
        check_uncompressed(run.model)
        if "uncompressed_bytes" in run.record:
            raise ValueError(
                f"{model} is a result of `cprec compress`, so the model is compressed already; "
                "give the uncompressed one that it was made from"
            )
        data = run.data(dataset, columns)
    else:
        run = _train(out, str(dataset), columns, chosen, device, deadline)
        data = run.data()
    check_writable(make_folder(out))  # before the trainings
    training = TrainConfig.from_json(run.record["train_config"])
    run.model.to(choose_device(device))
    race = compress(
        run.model, data, budget, training, loss, deadline, _show, distillation or 0.0, racer or ()
    )
    _show_front(race)
    test = write_best(out, run, data, race)
    _show_best(race, test, evaluate(run.model, data, "test"))
    header = header_bytes(out / WEIGHTS)
    say(f"{out / WEIGHTS}: {race.best.bytes:,} bytes of tensors, and a header of {header:,} bytes")
    say(f"Written to {out}")


def race(
    dataset: Annotated[str | None, data_option("Name in the registry, or path of a table.")] = None,
    results: Annotated[Path, path_option("Folder of the recorded races.")] = Path("results/race"),
    work: Annotated[Path, path_option("Folder of the trainings.")] = Path("build/race"),
    racer: Racers = None,
    seeds: Annotated[
        int | None, whole_option("Seeds; default: those of the setting.", least=1)
    ] = None,
    distillation: Distillation = None,
    show: Annotated[bool, typer.Option("--list", help="List the racers and run nothing.")] = False,
    device: Device = "auto",
) -> None:
    """Record the race at equal bytes: every way to make a model small, at four budgets.

    Adds to the record of the log what it lacks. You may stop it at any time; the same command
    continues after the last complete epoch.
    """
    from dataclasses import replace

    from cprec_lib.evidence.race import RACED, RACES, REFERENCES, run_race
    from cprec_lib.evidence.settings import Setting, log_name

    if show:
        say("\n".join([*RACED, *REFERENCES]))
        return
    if dataset is None:
        raise typer.BadParameter("name the data by --dataset")
    setting = RACES.get(dataset, Setting(learning_rates=(0.003,)))
    setting = replace(setting, seeds=seeds or setting.seeds)
    distilled = f"-distillation-{distillation:g}" if distillation else ""
    path = results / f"{log_name(dataset)}{distilled}.json"
    recorded = 0
    for finish in run_race(dataset, setting, path, work, racer or (), device, distillation or 0.0):
        recorded += 1
        say(
            f"1/{finish['times']}, seed {finish['seed']}: {finish['model']}, {finish['bytes']:,} "
            f"bytes, test NDCG@10 {finish['test']:.4f}"
        )
    say(f"New results in {path}: {recorded}")


def _train(
    out: Path,
    dataset: str,
    columns: dict[str, str],
    chosen: dict[str, dict[str, Any]],
    device: machine.Device,
    deadline: float | None,
) -> Run:
    """The run of the uncompressed model, in a subfolder of `out`."""
    from cprec_lib.compress.runs import UNCOMPRESSED, train_uncompressed
    from cprec_lib.train.config import TrainConfig
    from cprec_lib.train.run_folder import build_config

    build_config("nextitnet", LARGEST, chosen["architecture"])
    sequences = dict(chosen["sequences"])
    training = TrainConfig(**chosen["training"])
    run = train_uncompressed(
        out / UNCOMPRESSED,
        dataset,
        training,
        deadline,
        architecture=chosen["architecture"],
        reading=columns,
        split_seed=sequences.pop("split_seed", 0),
        sequences=sequences,
        device=device,
    )
    if (done := run.record["train_config"]["epochs"]) < training.epochs:
        say(
            f"The uncompressed model was cut short by the time limit after {done} of "
            f"{training.epochs} epochs; the other models are trained for as many at most."
        )
    return run


def _show(result: Result) -> None:
    spent = f", {result.seconds:.0f} s of training" if result.history or result.tuning else ""
    spent += f" with {len(result.tuning.epochs)} extra epochs" if result.tuning else ""
    spent += ", cut short by the time limit" if result.cut_short else ""
    say(f"{result.label}: {result.bytes:,} bytes, valid NDCG@10 {result.ndcg:.4f}{spent}")


def _show_front(race: Race) -> None:
    """The models that no other one beats both in bytes and in accuracy, with 95 % intervals."""
    from cprec_lib.compress.racers import way
    from cprec_lib.evidence.bootstrap import compare, interval

    say("\nNo other model is both smaller and better on validation than these:")
    longest = max(len(result.label) for result in race.front)
    say(f"{'model':{longest}}{'bytes':>14} smaller  {'NDCG@10':26}against the uncompressed model")
    for result in race.front:
        ndcg = str(interval(result.valid.values("ndcg@10")))
        difference = "" if result is race.full else compare(result.valid, race.full.valid)
        times = race.full.bytes / result.bytes
        say(f"{result.label:{longest}}{result.bytes:>14,}{times:>6.1f} x  {ndcg:26}{difference}")
    if race.untried:
        why = "because --loss is reached" if race.shown else "for lack of time"
        number = Counter(map(way, race.untried))
        ways = ", ".join(f"{name} ({n})" for name, n in number.items())
        say(f"Not tried {why} (number of forms): {ways}")


def _show_best(race: Race, test: Ranks, full: Ranks) -> None:
    from cprec_lib.evidence.bootstrap import compare, interval

    best = race.best
    say(f"\nThe best that keeps the budget of {race.budget:,} bytes: {best.label}")
    say(f"test NDCG@10 {interval(test.values('ndcg@10'))}")
    say(f"uncompressed {interval(full.values('ndcg@10'))}, difference {compare(test, full)}")
