"""The learner's own copies of the notebooks, which no later update overwrites."""

from __future__ import annotations

import os
from pathlib import Path

from cprec_lib.files import make_folder, write_bytes

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def copy_notebooks(out: str | Path, notebooks: Path | None = None) -> tuple[list[Path], list[Path]]:
    """Copy each notebook that `out` does not have yet; returns the copies and the files kept.

    Raises FileNotFoundError if there are no notebooks beside the package, OSError if `out` cannot
    be written.
    """
    sources = sorted((notebooks or NOTEBOOKS).glob("*.ipynb"))
    if not sources:
        raise FileNotFoundError(
            "there are no notebooks beside the package: the course lives in a checkout of the "
            "project. Clone it, and run the command with the environment that `make` builds there."
        )
    out = make_folder(Path(out))
    copied, kept = [], []
    for source in sources:
        target = out / source.name
        if os.path.lexists(target):
            kept.append(target)
        else:
            write_bytes(target, source.read_bytes())
            copied.append(target)
    return copied, kept
