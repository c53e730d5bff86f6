"""Read a notebook's file as data; nothing in it is executed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """A cell: its type ("code", "markdown", "raw"), its source and its saved outputs."""

    kind: str
    source: str
    outputs: tuple[dict[str, Any], ...] = ()


def read_cells(content: bytes) -> list[Cell]:
    """The cells of a notebook of format 4, from the bytes of its file.

    Raises ValueError if they are not such a notebook.
    """
    try:
        cells = json.loads(content)["cells"]
        return [
            Cell(
                str(cell["cell_type"]),
                "".join(cell["source"]),  # one text, or a list of its lines
                tuple(output for output in cell.get("outputs", ()) if isinstance(output, dict)),
            )
            for cell in cells
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a notebook of format 4 ({type(error).__name__})") from error
