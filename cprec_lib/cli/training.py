"""Verbs of the library: train, evaluate and recommend."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cprec_lib.cli.console import complain, line, say, speaks
from cprec_lib.cli.options import (
    LARGEST,
    Dataset,
    Device,
    ItemColumn,
    OtherDataset,
    OutFolder,
    RunFolder,
    Separator,
    TimeColumn,
    UserColumn,
    choice_option,
    given,
    options_of,
    reading,
    whole_option,
)

if TYPE_CHECKING:
    from cprec_lib.train.checkpoints import Epoch

Preset = Literal["nextitnet", "cprec", "gru4rec", "sasrec"]
Part = Literal["test", "valid"]
Engine = Literal["auto", "pandas", "duckdb"]


def train_options(leave_out: Collection[str] = ()) -> dict[str, Parameter]:
    """The options of `train` that the library's configs define, perhaps without some."""
    groups = option_groups(leave_out).values()
    return {name: option for group in groups for name, option in group.items()}


def option_groups(leave_out: Collection[str] = ()) -> dict[str, dict[str, Parameter]]:
    """The same by the argument of `run_folder.train` that takes them."""
    from cprec_lib.data.sequences import SequenceData
    from cprec_lib.model.config import ModelConfig
    from cprec_lib.train.config import TrainConfig

    return {
        "architecture": options_of(ModelConfig, leave_out),
        "sequences": options_of(SequenceData.from_interactions, rename={"seed": "split_seed"}),
        "training": options_of(TrainConfig),
    }


def train(
    dataset: Dataset,
    model: Annotated[
        Preset,
        choice_option(Preset, "The uncompressed or the compressed CNN, a GRU, or self-attention."),
    ],
    out: OutFolder,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    separator: Separator = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run that the folder holds.")
    ] = False,
    device: Device = "auto",
    engine: Annotated[
        Engine,
        choice_option(Engine, "Read the log in memory (pandas) or on disk (duckdb); auto by size."),
    ] = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write curves for TensorBoard.")
    ] = False,
    **options: Any,
) -> None:
    """Train a model and write the run into a folder.

    Several GPUs or machines: `accelerate launch -m cprec_lib train ...`. They share the batch.
    An option that you omit has the default of nextitnet(), cprec(), gru4rec() or sasrec(), of
    SequenceData.from_interactions or of TrainConfig.
    """
    chosen = {group: given(options, names) for group, names in option_groups().items()}
    _refuse_blocks(model, chosen["architecture"])
    from cprec_lib.train import run_folder
    from cprec_lib.train.config import TrainConfig
    from cprec_lib.train.processes import Processes

    # Faults of the options come up before the data, which may take minutes to fetch.
    run_folder.build_config(model, LARGEST, chosen["architecture"])
    training = TrainConfig(**chosen["training"])
    split_seed = chosen["sequences"].pop("split_seed", 0)
    try:
        metrics = run_folder.train(
            out,
            dataset,
            model,
            architecture=chosen["architecture"],
            reading=reading(user_column, item_column, time_column, separator),
            sequences=chosen["sequences"],
            split_seed=split_seed,
            training=training,
            device=device,
            engine=engine,
            resume=resume,
            log=_curves(out / "tensorboard") if tensorboard else None,
        )
    except KeyboardInterrupt as error:
        complain("\nInterrupted. Repeat the command with --resume to continue.")
        raise typer.Exit(130) from error
    if speaks():
        _summarise(metrics, out)
    Processes.leave()


def _curves(folder: Path) -> Callable[[Epoch], None]:
    """A function that writes the loss, seconds and metrics of an epoch for TensorBoard."""
    if find_spec("tensorboard") is None:
        raise OSError("TensorBoard is not installed; run `pip install tensorboard`")
    writer: Any = None

    def write(epoch: Epoch) -> None:
        nonlocal writer
        if writer is None:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(folder)
        scalars = {"train/loss": epoch.loss, "train/seconds": epoch.seconds}
        scalars |= {f"valid/{name}": value for name, value in epoch.valid.items()}
        for name, value in scalars.items():
            writer.add_scalar(name, value, epoch.epoch)
        writer.flush()

    return write


def evaluate(
    folder: RunFolder,
    dataset: OtherDataset = None,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    separator: Separator = None,
    split_part: Annotated[Part, choice_option(Part, "Held-out part to predict.")] = "test",
) -> None:
    """Print a run's metrics with their intervals.

    The whole catalogue is ranked for each user. The intervals are 95 % bootstrap intervals over
    users. The data is read as for the training.
    """
    from cprec_lib.evidence.bootstrap import interval
    from cprec_lib.train.evaluation import evaluate
    from cprec_lib.train.run_folder import Run

    run = Run.load(folder)
    data = run.data(dataset, reading(user_column, item_column, time_column, separator))
    ranks = evaluate(run.model, data, split_part)
    say(f"{split_part}, {len(ranks.ranks):,} users")
    for name in ranks.metrics():
        say(f"{name:8}{interval(ranks.values(name))}")


def recommend(
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="ITEM...",
            help="What the user chose, oldest first: titles, or ids if there are no titles.",
        ),
    ],
    folder: RunFolder,
    k: Annotated[int, whole_option("How many to recommend.", "--k", least=1)] = 10,
    exclude_seen: Annotated[
        bool,
        typer.Option("--exclude-seen/--include-seen", help="Leave out the items given."),
    ] = True,
) -> None:
    """Recommend the most probable next items.

    Prints rank, title and probability.
    """
    from cprec_lib.train.run_folder import Run

    run = Run.load(folder)
    log_prob, found = run.model.recommend([run.find(items)], k, exclude_seen)
    names = [line(run.names[item]) for item in found[0].tolist()]
    longest = max(map(len, names))
    for rank, (name, probability) in enumerate(zip(names, log_prob[0].exp().tolist(), strict=True)):
        say(f"{rank + 1:>3}  {name:{longest}}  {probability:.4f}")


def _refuse_blocks(model: str, architecture: dict[str, Any]) -> None:
    """Raise if an option of blocks is given to a model that has none."""
    if model == "cprec" or architecture.get("block_input") or architecture.get("block_softmax"):
        return
    for name in ("cutoffs", "factor", "tree", "widths"):
        if name in architecture:
            raise typer.BadParameter(
                f"{model} is not cut into blocks; add --block-input or --block-softmax, "
                "or choose --model cprec",
                param_hint=f"--{name}",
            )


def _summarise(metrics: Mapping[str, Any], out: Path) -> None:
    valid, test = metrics["valid"], metrics["test"]
    say(
        f"{metrics['model']} on {metrics['dataset']}: {metrics['parameters']:,} parameters, "
        f"epochs: {metrics['epochs']} (best: {metrics['best_epoch']}), {metrics['seconds']:.1f} s "
        f"of training on {metrics['device']}"
    )
    for part, values in (("valid", valid), ("test", test)):
        say(f"{part:6}HR@10 {values['hr@10']:.4f}  NDCG@10 {values['ndcg@10']:.4f}")
    say(f"Written to {out}")
