"""Options: those that several verbs share, and those that come from the library's configs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from inspect import Parameter
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from cprec_lib import machine
from cprec_lib.files import named_path

LARGEST = 2**32 - 1
"""The largest whole number of an option: what seeds a generator of numpy."""


def name_or_path(text: str) -> str:
    """The name of a data set or a path, not empty."""
    if not text.strip():
        raise typer.BadParameter("it is empty; give a name of the registry or a path")
    return text


def path(text: str) -> Path:
    """A path, not empty. Raises BadParameter, whose message typer prints as it is."""
    try:
        return named_path(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def path_option(text: str, *names: str, metavar: str = "PATH") -> Any:
    """An option for a path; `text` is its help."""
    return typer.Option(*names, help=text, parser=path, metavar=metavar)


def data_option(text: str) -> Any:
    """An option for a data set; `text` is its help."""
    return typer.Option(help=text, parser=name_or_path, metavar="NAME_OR_PATH")


RunFolder = Annotated[Path, path_option("Folder that `cprec train` wrote.", "--model")]
OutFolder = Annotated[Path, path_option("Folder that receives the run.")]
Dataset = Annotated[str, data_option("Name in the registry (see `cprec data`) or path of a table.")]
OtherDataset = Annotated[
    str | None, data_option("Name or path of the data, if not that of the run or setting.")
]
UserColumn = Annotated[
    str | None, typer.Option(help="Column of the users in a table: its name, or number from 0.")
]
ItemColumn = Annotated[str | None, typer.Option(help="Column of the items.")]
TimeColumn = Annotated[
    str | None, typer.Option(help="Column of the times, or order if the rows are in order of time.")
]
Separator = Annotated[
    str | None, typer.Option(help="Text between two columns, such as ; or :: or \\t.")
]
Device = Annotated[
    machine.Device,
    typer.Option(help="Where to compute; auto takes a GPU if there is one."),
]


def given(options: Mapping[str, Any], names: Collection[str] | None = None) -> dict[str, Any]:
    """The options that the command line names, all or those of some names.

    The library knows the defaults of the others.
    """
    chosen = options if names is None else names
    return {name: options[name] for name in chosen if options.get(name) is not None}


def reading(
    user_column: str | None, item_column: str | None, time_column: str | None, separator: str | None
) -> dict[str, str]:
    """How to read a table, as arguments of `load_interactions`; a tab may be written as \\t."""
    options = {"user_column": user_column, "item_column": item_column, "time_column": time_column}
    tabbed = separator.replace("\\t", "\t") if separator else separator
    return given({**options, "separator": tabbed})


def options_of(
    source: Any, leave_out: Collection[str] = (), rename: Mapping[str, str] | None = None
) -> dict[str, Parameter]:
    """An option, by name, for each field of a dataclass or argument of a function with a help text.

    The text is that of Annotated[type, text]. Every option may be left out, and is then None.
    """
    rename, options = rename or {}, {}
    for field, hint in get_type_hints(source, include_extras=True).items():
        if get_origin(hint) is Annotated and field not in leave_out:
            name = rename.get(field, field)
            options[name] = _option(name, *get_args(hint)[:2])
    return options


def _option(name: str, kind: Any, text: str) -> Parameter:
    if NoneType in get_args(kind):
        kinds = [each for each in get_args(kind) if each is not NoneType]
        kind = str if str in kinds else kinds[0]
    parser: Callable[[str], Any] | None = None
    metavar = {str: "TEXT", float: "NUMBER"}.get(kind)
    if kind is int:
        parser, metavar = whole, "INTEGER"
    elif get_origin(kind) is tuple:
        count = None if Ellipsis in get_args(kind) else len(get_args(kind))
        kind, parser, metavar = str, lambda text: numbers(text, count), "NUMBER,..."
    option = typer.Option(help=text, parser=parser, metavar=metavar)
    annotation = Annotated[kind | None, option]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def whole(text: str) -> int:
    """A whole number from 0 to `LARGEST`."""
    digits = text.isascii() and text.isdecimal() and len(text) < 20
    number = int(text) if digits else -1
    if not 0 <= number <= LARGEST:
        raise typer.BadParameter(f"{text[:40]!r} is no whole number from 0 to {LARGEST}")
    return number


def numbers(text: str, count: int | None = None) -> tuple[float, ...]:
    """Numbers up to `LARGEST` between commas, whole ones as int; an empty text is none of them."""
    try:
        found = tuple(_number(part) for part in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise typer.BadParameter(
            f"{text[:40]!r} is no list of numbers up to {LARGEST} with commas between them"
        ) from error
    if count is not None and len(found) != count:
        raise typer.BadParameter(f"{text[:40]!r} is no list of {count} numbers")
    return found


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) <= LARGEST:  # neither is one that is not a number
        raise ValueError
    return int(number) if text.strip().isdecimal() else number


def with_options(
    verb: Callable[..., None], options: Callable[[], dict[str, Parameter]]
) -> type[TyperCommand]:
    """The class of a command whose `**options` come from configs of modules that may load torch.

    They are made when the verb is called or asked for help, so that `cprec --help` and other verbs
    do not wait for torch.
    """

    class Verb(TyperCommand):
        def make_context(
            self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
        ) -> Any:
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command()(_with_signature(verb, options()))
            return typer.main.get_command(alone).make_context(info_name, args, parent, **extra)

    return Verb


def without_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb as `cprec --help` lists it."""
    return _with_signature(verb, {})


def _with_signature(
    verb: Callable[..., None], options: dict[str, Parameter]
) -> Callable[..., None]:
    @wraps(verb)
    def command(**values: Any) -> None:
        verb(**values)

    own = inspect.signature(verb, eval_str=True)
    fixed = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own.parameters.values()]
    fixed = [p for p in fixed if p.name != "options"]
    command.__signature__ = own.replace(parameters=[*fixed, *options.values()])  # type: ignore[attr-defined]
    return command
