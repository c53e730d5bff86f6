"""Parts of the Markdown pages."""

import re
from collections.abc import Iterable, Iterator, Sequence


def table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table: the columns' names, then the rows."""
    for cells in (names, ["---"] * len(names), *rows):
        yield f"| {' | '.join(map(str, cells))} |"


def escaped(name: str) -> str:
    """A name that may be anybody's, such as that of a file, without effect as Markdown."""
    printable = "".join(mark if mark.isprintable() else "?" for mark in name)
    return re.sub(r"[\\`*_{}\[\]<>#|$~&]", r"\\\g<0>", printable)
