"""Verbs of the course: doctor, data and workbook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cprec_lib.cli.console import complain, say
from cprec_lib.cli.options import (
    ItemColumn,
    Separator,
    TimeColumn,
    UserColumn,
    name_or_path,
    path_option,
    reading,
)


def doctor() -> None:
    """Check this machine for the course.

    The text names no path and no user, so that it can be pasted into a bug report.
    """
    from cprec_lib.course.doctor import examine

    findings = examine()
    for finding in findings:
        say(str(finding))
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


def data(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names, or paths of tables.", parser=name_or_path, metavar="NAME_OR_PATH..."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, path_option("Folder of the downloads, else CPREC_DATA, else data/.")
    ] = None,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    separator: Separator = None,
) -> None:
    """Download data sets and count their rows, users and items, or list the registry.

    A data set that is present is not downloaded again. A file, a folder or a pattern that would
    fill more than half of the free memory is counted by DuckDB, without loading it.
    """
    from cprec_lib.big.sequences import choose_engine, count_rows, files_of
    from cprec_lib.logs.datasets import DATASETS, is_present, load_interactions

    columns = reading(user_column, item_column, time_column, separator)
    for name in names or []:
        if (path := files_of(name)) and choose_engine(path) == "duckdb":
            say(f"{name}: {count_rows(path, columns, data_dir)}")
            continue
        table = load_interactions(name, data_dir, **columns)
        users, items = table["user"].nunique(), table["item"].nunique()
        say(f"{name}: {len(table):,} rows, {users:,} users, {items:,} items")
    if not names:
        for name in DATASETS:
            say(f"{name:16}{'present' if is_present(name, data_dir) else 'not present'}")


def workbook(
    out: Annotated[
        Path | None, path_option("Folder of the copies (my_work) or of the page (build).")
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
        say(f"Written to {page}")
        return
    out = out or Path("my_work")
    copies, warning = refresh(out)
    if warning:
        complain(f"Warning: {warning}")
    for copy in copies:
        note = f" ({copy.text})" if copy.text else ""
        say(f"{copy.state:9}{copy.path.name}{note}")
    say(out)


def _show_progress(folder: Path) -> None:
    from cprec_lib.course.workbook import progress, table

    rows, unreadable = progress(folder)
    for name in unreadable:
        complain(f"Warning: {name} cannot be read and is left out; is it a notebook?")
    say(table(rows))
    say("As your last saved outputs say: save a notebook before you look here.")
