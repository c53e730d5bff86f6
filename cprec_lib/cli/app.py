"""The command `cprec`, also `python -m cprec_lib`: a thin shell over the library.

The library is imported inside the verbs, so that `--help` does not wait for torch and `doctor` can
speak of a torch that does not load.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer
from typer.core import TyperGroup

from cprec_lib.files import named_path
from cprec_lib.model.sharing import SHARING


class _PlainErrors(TyperGroup):
    """Ends a verb that fails with one message instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of our output has gone; nobody is left to tell
        except (ValueError, OSError, FloatingPointError, MemoryError) as error:
            _complain(f"Error: {_message(error)}")
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            _complain("\nInterrupted.")
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=_PlainErrors,
    help="CpRec: small and fast sequential recommenders.",
    no_args_is_help=True,
    rich_markup_mode=None,  # its tables squeeze the help of `train` into a third of a terminal
    add_completion=False,
    pretty_exceptions_enable=False,
)

RunFolder = Annotated[
    Path,
    typer.Option(
        "--model", help="Folder that `cprec train` wrote.", parser=named_path, metavar="PATH"
    ),
]
Dataset = Annotated[
    str, typer.Option(help="Name in the registry (see `cprec data`) or path of a table.")
]


@app.command()
def doctor() -> None:
    """Check this machine for the course.

    The text names no path and no user, so that it can be pasted into a bug report.
    """
    from cprec_lib.course.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(str(finding))
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


@app.command()
def data(
    names: Annotated[list[str] | None, typer.Argument(help="Names, or paths of tables.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the downloads, else CPREC_DATA, else data/.")
    ] = None,
) -> None:
    """Fetch data sets, or list the registry.

    With names, each is fetched where it is missing, and its rows, users and items are counted.
    """
    from cprec_lib.data.datasets import DATASETS, is_present, load_interactions

    for name in names or []:
        table = load_interactions(name, data_dir)
        users, items = table["user"].nunique(), table["item"].nunique()
        typer.echo(f"{name}: {len(table):,} rows, {users:,} users, {items:,} items")
    if not names:
        for name in DATASETS:
            typer.echo(f"{name:16}{'present' if is_present(name, data_dir) else 'not present'}")


@app.command()
def train(
    dataset: Dataset,
    model: Annotated[
        Literal["nextitnet", "cprec", "gru4rec", "sasrec"],
        typer.Option(help="The baseline, the compressed model, or one with another filling."),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder that receives the run.", parser=named_path, metavar="PATH"),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that the folder holds.")
    ] = False,
    width: Annotated[int | None, typer.Option(help="Components of a vector, d.")] = None,
    dilations: Annotated[
        str | None, typer.Option(help="One a residual block, as in 1,4,1,4.")
    ] = None,
    kernel_size: Annotated[int | None, typer.Option(help="Taps of a convolution.")] = None,
    cutoffs: Annotated[
        str | None, typer.Option(help="Ends of the blocks: shares, as in 0.05,0.2, or counts.")
    ] = None,
    factor: Annotated[
        float | None, typer.Option(help="By which widths fall from block to block.")
    ] = None,
    sharing: Annotated[str | None, typer.Option(help=f"One of {', '.join(SHARING)}.")] = None,
    layers: Annotated[int | None, typer.Option(help="Layers of gru4rec or sasrec.")] = None,
    heads: Annotated[int | None, typer.Option(help="Heads of sasrec's attention.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of units dropped.")] = None,
    input_dropout: Annotated[
        float | None, typer.Option(help="Share of an item's vector dropped.")
    ] = None,
    block_input: Annotated[
        bool | None,
        typer.Option("--block-input/--no-block-input", help="Decomposed or full embedding."),
    ] = None,
    block_softmax: Annotated[
        bool | None,
        typer.Option("--block-softmax/--no-block-softmax", help="Decomposed or full softmax."),
    ] = None,
    tree: Annotated[
        bool | None,
        typer.Option("--tree/--no-tree", help="Decomposed softmax in two levels or flat."),
    ] = None,
    max_len: Annotated[int | None, typer.Option(help="Positions that the model sees.")] = None,
    split: Annotated[
        Literal["leave_one_out", "by_user"] | None, typer.Option(help="What is held out.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better NDCG@10 before it stops.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="Of weights, order and dropout."),
    ] = None,
    split_seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the split by user.")
    ] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="auto: a GPU if there is one.")
    ] = "auto",
    precision: Annotated[
        Literal["float32", "bfloat16"] | None, typer.Option(help="Of matrix products in training.")
    ] = None,
    schedule: Annotated[
        Literal["constant", "linear"] | None, typer.Option(help="Of the learning rate.")
    ] = None,
    compile_model: Annotated[
        bool | None, typer.Option("--compile", help="Let torch.compile make embedding and middle.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write curves for TensorBoard.")
    ] = False,
) -> None:
    """Train a model and write the run into a folder.

    Several GPUs or machines: `accelerate launch -m cprec_lib train ...`; the batch size is that of
    all of them together. Options that are left out keep the library's defaults: those of
    nextitnet(), cprec(), gru4rec() or sasrec(), of SequenceData.from_interactions and of
    TrainConfig.
    """
    architecture = _given(
        width=width,
        dilations=_numbers("--dilations", dilations, int),
        kernel_size=kernel_size,
        cutoffs=_numbers("--cutoffs", cutoffs, _share_or_count),
        factor=factor,
        sharing=sharing,
        layers=layers,
        heads=heads,
        dropout=dropout,
        input_dropout=input_dropout,
        block_input=block_input,
        block_softmax=block_softmax,
        tree=tree,
    )
    _refuse_unused(model, architecture)
    training = _given(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        patience=patience,
        seed=seed,
        precision=precision,
        schedule=schedule,
        compile=compile_model,
    )
    from cprec_lib.train import run_folder
    from cprec_lib.train.config import TrainConfig
    from cprec_lib.train.processes import Processes

    try:
        metrics = run_folder.train(
            out,
            dataset,
            model,
            architecture=architecture,
            sequences=_given(max_len=max_len, split=split),
            split_seed=split_seed,
            training=TrainConfig(**training),
            device=device,
            resume=resume,
            tensorboard=tensorboard,
        )
    except KeyboardInterrupt as error:
        _complain("\nInterrupted. The same command with --resume goes on.")
        raise typer.Exit(130) from error
    if _speaks():
        _summarise(metrics, out)
    Processes.leave()


@app.command()
def evaluate(
    folder: RunFolder,
    dataset: Annotated[
        str | None, typer.Option(help="Name or path, else that of the training.")
    ] = None,
    split_part: Annotated[
        Literal["test", "valid"], typer.Option(help="Which held-out predictions.")
    ] = "test",
) -> None:
    """Print a run's metrics with their intervals.

    The whole catalogue is ranked for each user; the intervals are 95 % bootstrap intervals over
    users.
    """
    from cprec_lib.train.evaluation import evaluate, interval
    from cprec_lib.train.run_folder import Run

    run = Run.load(folder)
    ranks = evaluate(run.model, run.data(dataset), split_part)
    typer.echo(f"{split_part}, {len(ranks.ranks):,} users")
    for name in ranks.metrics():
        typer.echo(f"{name:8}{interval(ranks.values(name))}")


@app.command()
def recommend(
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="ITEM...",
            help="What the user chose, oldest first: titles, or ids if there are no titles.",
        ),
    ],
    folder: RunFolder,
    k: Annotated[int, typer.Option("--k", min=1, help="How many to recommend.")] = 10,
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
    names = [run.names[item] for item in found[0].tolist()]
    longest = max(map(len, names))
    for rank, (name, probability) in enumerate(zip(names, log_prob[0].exp().tolist(), strict=True)):
        typer.echo(f"{rank + 1:>3}  {name:{longest}}  {probability:.4f}")


@app.command()
def reproduce(
    groups: Annotated[
        list[str] | None,
        typer.Argument(help="Groups of runs, see --list, or time; else all the runs."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Name in the registry or path of a table, else the setting's."),
    ] = None,
    named: Annotated[
        str | None, typer.Option("--setting", help="A tuned setting, such as ml-100k-w64-authors.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="Seconds, after which it stops; else until done.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="auto: a GPU if there is one.")
    ] = "auto",
    show: Annotated[
        bool, typer.Option("--list", help="Show groups and missing runs; run nothing.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder that receives the results.")] = Path(
        "results"
    ),
    work: Annotated[Path, typer.Option(help="Folder of the runs themselves.")] = Path("build/runs"),
    model: Annotated[
        list[str] | None, typer.Option(help="Only this one, by key; repeatable.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Components of a vector, d.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of units dropped.")] = None,
    input_dropout: Annotated[
        float | None, typer.Option(help="Share of an item's vector dropped.")
    ] = None,
    learning_rate: Annotated[
        list[float] | None, typer.Option(help="A rate to try; repeatable.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without a better NDCG@10.")] = None,
    max_len: Annotated[int | None, typer.Option(help="Positions that the model sees.")] = None,
    split: Annotated[
        Literal["leave_one_out", "by_user"] | None, typer.Option(help="What is held out.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0, 1, ... of each model.")] = None,
    users: Annotated[
        int | None,
        typer.Option(min=1, help="So many users, drawn once; mostly all if left out."),
    ] = None,
) -> None:
    """Run the recorded experiments that the results lack; what is there stays.

    Options of training that are left out are those that settings.py has for the data set at
    that width.
    """
    from dataclasses import replace

    from cprec_lib.evidence import experiments, settings, variants

    given = _given(
        dropout=dropout,
        dropouts=() if dropout is not None else None,
        input_dropout=input_dropout,
        learning_rates=tuple(learning_rate) if learning_rate else None,
        epochs=epochs,
        patience=patience,
        max_len=max_len,
        split=split,
        seeds=seeds,
        users=users,
    )
    tuned = settings.tuned_setting(named) if named else None
    dataset = dataset or (tuned.dataset if tuned else "ml-100k")
    setting = tuned or settings.setting_of(dataset, width)
    if setting.dropouts and learning_rate and dropout is None:
        raise ValueError(
            f"the rates {setting.learning_rates} go with the dropouts {setting.dropouts}; with "
            "other rates give --dropout as well"
        )
    setting = replace(setting, **given)
    label = settings.folder_name(dataset, setting)
    groups = groups or []
    keys = variants.choose([group for group in groups if group != "time"], model or ())
    if "time" in groups and not show:
        path = results / "time" / f"{label}.json"
        if not path.exists():
            experiments.time_models(dataset, setting, path, device=device)
        typer.echo(f"The times are in {path}")
        if groups == ["time"]:
            return
    folder = results / "records" / named if named else results / "runs" / label
    if show:
        _list_runs(keys, experiments.missing(keys, dataset, setting, folder, download=False))
        return
    recorded = 0
    for experiment, result in experiments.reproduce(
        keys, dataset, setting, folder, work, float("inf") if budget is None else budget, device
    ):
        if result is None:
            typer.echo(
                f"The budget ended before the last epoch of {experiment.stem}; "
                "the same command goes on from what is done of it."
            )
            break
        recorded += 1
        typer.echo(f"{experiment.stem}: test NDCG@10 {result['test']['ndcg@10']:.4f}")
    typer.echo(f"{recorded} new results in {folder}")


def _list_runs(keys: list[str], missing: list[Any]) -> None:
    from cprec_lib.evidence.variants import GROUPS

    for group, members in GROUPS.items():
        if {member.key for member in members} & {*keys}:
            typer.echo(f"{group:14}{', '.join(member.key for member in members)}")
    typer.echo(f"\n{len(missing)} runs are missing:")
    for experiment in missing:
        typer.echo(f"  {experiment.stem}")


@app.command()
def claims(
    results: Annotated[Path, typer.Option(help="Folder of the recorded results.")] = Path(
        "results"
    ),
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/claims.md"),
) -> None:
    """Judge the paper's claims by the recorded results, and write the page."""
    from cprec_lib.evidence.claims import judge_claims, to_markdown
    from cprec_lib.files import make_folder, write_text

    judged = judge_claims(results)
    make_folder(out.parent)
    write_text(out, to_markdown(judged))
    for each in judged:
        typer.echo(f"{each.claim}  {each.verdict:18}{each.says}")
    typer.echo(f"Written to {out}")


@app.command()
def workbook(
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the copies, else my_work; of the page, else build."),
    ] = None,
    progress: Annotated[
        bool, typer.Option("--progress", help="Show which exercises are solved in the copies.")
    ] = False,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="Write teacher.md: all exercises with solutions.")
    ] = False,
) -> None:
    """Copy the notebooks into a folder of yours, and keep the copies up to date.

    A copy that you have edited is kept as it is.
    """
    from cprec_lib.course.workbook import bank, refresh

    if progress and teacher:
        raise typer.BadParameter("choose one of --progress and --teacher")
    if progress:
        _show_progress(out or Path("my_work"))
        return
    if teacher:
        from cprec_lib.course.teacher import teacher_page
        from cprec_lib.files import make_folder, write_text

        page = make_folder(out or Path("build")) / "teacher.md"
        write_text(page, teacher_page(bank()))
        typer.echo(f"Written to {page}")
        return
    out = out or Path("my_work")
    copies, warning = refresh(out)
    if warning:
        _complain(f"Warning: {warning}")
    for copy in copies:
        note = f" ({copy.text})" if copy.text else ""
        typer.echo(f"{copy.state:9}{copy.path.name}{note}")
    typer.echo(out)


def _show_progress(folder: Path) -> None:
    from cprec_lib.course.workbook import progress, table

    rows, unreadable = progress(folder)
    for name in unreadable:
        _complain(f"Warning: {name} cannot be read and is left out; is it a notebook?")
    typer.echo(table(rows))
    typer.echo("As your last saved outputs say: save a notebook before you look here.")


def _given(**options: Any) -> dict[str, Any]:
    """The options that the command line names; the library knows the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}


def _numbers(
    option: str, text: str | None, number: Callable[[str], float]
) -> tuple[float, ...] | None:
    """Numbers between commas; an empty text is none of them."""
    if text is None:
        return None
    try:
        return tuple(number(part) for part in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no list of numbers with commas between them", param_hint=option
        ) from error


# Options that only some models have.
_CNN, _OTHERS = ("nextitnet", "cprec"), ("gru4rec", "sasrec")
_OWNERS = {
    "dilations": _CNN,
    "kernel_size": _CNN,
    "sharing": _CNN,
    "layers": _OTHERS,
    "heads": ("sasrec",),
}


def _refuse_unused(model: str, architecture: dict[str, Any]) -> None:
    """Raise if an option of another filling, or of blocks that there are none of, is given."""
    for name, owners in _OWNERS.items():
        if name in architecture and model not in owners:
            raise typer.BadParameter(
                f"{model} has none; this is an option of {' and '.join(owners)}",
                param_hint=f"--{name.replace('_', '-')}",
            )
    if model == "cprec" or architecture.get("block_input") or architecture.get("block_softmax"):
        return
    for name in ("cutoffs", "factor", "tree"):
        if name in architecture:
            raise typer.BadParameter(
                f"{model} is not cut into blocks; add --block-input or --block-softmax, "
                "or choose --model cprec",
                param_hint=f"--{name}",
            )


def _share_or_count(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _summarise(metrics: Mapping[str, Any], out: Path) -> None:
    valid, test = metrics["valid"], metrics["test"]
    typer.echo(
        f"{metrics['model']} on {metrics['dataset']}: {metrics['parameters']:,} parameters, "
        f"{metrics['epochs']} epochs (best: {metrics['best_epoch']}), {metrics['seconds']:.1f} s "
        f"of training on {metrics['device']}"
    )
    for part, values in (("valid", valid), ("test", test)):
        typer.echo(f"{part:6}HR@10 {values['hr@10']:.4f}  NDCG@10 {values['ndcg@10']:.4f}")
    typer.echo(f"Written to {out}")


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning without the line of code that gave it."""
    _complain(f"Warning: {message}")


def _complain(text: str) -> None:
    if _speaks():
        typer.echo(text, err=True)


def _speaks() -> bool:
    """Whether this is the main one of the processes that a launcher started, if one did."""
    return os.environ.get("RANK", "0") == "0"
