"""The command `cprec`, also `python -m cprec_lib`: a thin shell over the library.

The library is imported inside the verbs, so that `--help` does not wait for torch and `doctor` can
speak of a torch that does not load.
"""

from __future__ import annotations

import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from cprec_lib.cli.compression import compress, compress_options, race
from cprec_lib.cli.console import (
    check_launcher,
    complain,
    replace_unknown_characters,
    sentence,
    show_warning,
)
from cprec_lib.cli.course import data, doctor, workbook
from cprec_lib.cli.evidence import claims, reproduce, reproduce_options
from cprec_lib.cli.options import with_options, without_options
from cprec_lib.cli.serving import export, serve
from cprec_lib.cli.training import evaluate, recommend, train, train_options


class _PlainErrors(TyperGroup):
    """Ends a verb that fails with one message instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        replace_unknown_characters()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show_warning
                check_launcher()
                return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of our output has gone; nobody is left to tell
        except KeyboardInterrupt as error:
            complain("\nInterrupted.")
            raise typer.Exit(130) from error
        except Exception as error:
            if hasattr(error, "exit_code"):  # typer's own, which it shows with the usage
                _explain_dash(error)
                raise
            message = sentence(error)
            if message is None:
                raise
            complain(f"Error: {message}")
            raise typer.Exit(1) from error


def _explain_dash(error: Any) -> None:
    """Say how to give an argument that starts with a dash, such as the id -5."""
    option = getattr(error, "option_name", "--")
    if not option.startswith("--"):
        error.message += ". Write -- before the first argument that starts with a dash"


app = typer.Typer(
    cls=_PlainErrors,
    help="CpRec: small and fast sequential recommenders.",
    no_args_is_help=True,
    rich_markup_mode=None,  # its tables squeeze the help of `train` into a third of a terminal
    add_completion=False,
    pretty_exceptions_enable=False,
)

OPTIONS = {train: train_options, compress: compress_options, reproduce: reproduce_options}
"""Verbs whose options come from the configs of the library, and what makes them."""

VERBS = (
    doctor,
    data,
    train,
    evaluate,
    recommend,
    compress,
    export,
    serve,
    reproduce,
    race,
    claims,
    workbook,
)

for verb in VERBS:
    cls = with_options(verb, OPTIONS[verb]) if verb in OPTIONS else None
    app.command(cls=cls)(without_options(verb))
