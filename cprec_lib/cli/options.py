"""Options: those that several verbs share, and those that come from the library's configs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial, wraps
from inspect import Parameter
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

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


def filled(text: str) -> str:
    """Any text but an empty one, which comes from an unset variable of the shell."""
    if not text:
        raise typer.BadParameter("it is empty; give a text, or leave the option out")
    return text


def path(text: str) -> Path:
    """A path, not empty. Raises BadParameter, whose message typer prints as it is."""
    try:
        return named_path(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def choice(text: str, words: Collection[str]) -> str:
    """One of some words."""
    if text not in words:
        raise typer.BadParameter(f"{text[:40]!r} is none of {', '.join(words)}")
    return text


def whole(text: str | int, least: int = 0, most: int = LARGEST) -> int:
    """A whole number from `least` to `most`; typer passes a default, which is a number, too."""
    digits = str(text).isascii() and str(text).isdecimal() and len(str(text)) < 20
    found = int(text) if digits else -1
    if not least <= found <= most:
        raise typer.BadParameter(f"{str(text)[:40]!r} is not a whole number from {least} to {most}")
    return found


def number(text: str, least: float = -LARGEST) -> float:
    """A number from `least` to `LARGEST`."""
    try:
        found = float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text[:40]!r} is not a number") from error
    if not least <= found <= LARGEST:  # neither does one that is not a number
        raise typer.BadParameter(f"{text[:40]!r} does not lie between {least} and {LARGEST}")
    return found


def numbers(text: str, count: int | None = None) -> tuple[float, ...]:
    """Numbers up to `LARGEST` between commas, whole ones as int; an empty text is none of them."""
    try:
        found = tuple(_number(part) for part in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise typer.BadParameter(
            f"{text[:40]!r} is not a list of numbers up to {LARGEST} with commas between them"
        ) from error
    if count is not None and len(found) != count:
        raise typer.BadParameter(f"{text[:40]!r} is not a list of {count} numbers")
    return found


def _number(text: str) -> float:
    found = float(text)
    if not abs(found) <= LARGEST:  # neither is one that is not a number
        raise ValueError
    return int(found) if text.strip().isdecimal() else found


def path_option(text: str, *names: str, metavar: str = "PATH") -> Any:
    """An option for a path; `text` is its help."""
    return typer.Option(*names, help=text, parser=path, metavar=metavar)


def data_option(text: str) -> Any:
    """An option for a data set; `text` is its help."""
    return typer.Option(help=text, parser=name_or_path, metavar="NAME_OR_PATH")


def text_option(text: str, *names: str, metavar: str = "TEXT") -> Any:
    """An option for a text that is not empty; `text` is its help."""
    return typer.Option(*names, help=text, parser=filled, metavar=metavar)


def choice_option(kind: Any, text: str, *names: str) -> Any:
    """An option for one of the words of a Literal; `text` is its help."""
    words = get_args(kind)
    metavar = f"[{'|'.join(words)}]"
    return typer.Option(*names, help=text, parser=partial(choice, words=words), metavar=metavar)


def whole_option(text: str, *names: str, least: int = 0, most: int = LARGEST) -> Any:
    """An option for a whole number from `least` to `most`; `text` is its help."""
    parser = partial(whole, least=least, most=most)
    return typer.Option(*names, help=text, parser=parser, metavar="INTEGER")


def number_option(text: str, *names: str, least: float = -LARGEST) -> Any:
    """An option for a number from `least` on; `text` is its help."""
    parser = partial(number, least=least)
    return typer.Option(*names, help=text, parser=parser, metavar="NUMBER")


RunFolder = Annotated[
    Path, path_option("Folder that `cprec train` or `cprec compress` wrote.", "--model")
]
OutFolder = Annotated[Path, path_option("Folder that receives the run.")]
Dataset = Annotated[str, data_option("Name in the registry (see `cprec data`) or path of a table.")]
OtherDataset = Annotated[
    str | None, data_option("Name or path of the data, if not that of the run or setting.")
]
UserColumn = Annotated[
    str | None,
    text_option("Column of the users in a table: its name, or number from 0.", metavar="COLUMN"),
]
ItemColumn = Annotated[str | None, text_option("Column of the items.", metavar="COLUMN")]
TimeColumn = Annotated[
    str | None,
    text_option(
        "Column of the times, or order if the rows are in order of time.", metavar="COLUMN"
    ),
]
Separator = Annotated[str | None, text_option("Text between two columns, such as ; or :: or \\t.")]
Device = Annotated[
    machine.Device,
    choice_option(machine.Device, "Where to compute; auto takes a GPU if there is one."),
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
    if get_origin(kind) is Literal:
        option = choice_option(kind, text)
    elif get_origin(kind) is tuple:
        count = None if Ellipsis in get_args(kind) else len(get_args(kind))
        kind, parser = str, partial(numbers, count=count)
        option = typer.Option(help=text, parser=parser, metavar="NUMBER,...")
    else:
        makers: dict[Any, Callable[[str], Any]]
        makers = {int: whole_option, float: number_option, str: text_option}
        option = makers[kind](text) if kind in makers else typer.Option(help=text)
    annotation = Annotated[kind | None, option]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


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
