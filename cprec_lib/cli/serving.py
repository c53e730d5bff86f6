"""Verbs of serving: export and serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cprec_lib.cli.console import say
from cprec_lib.cli.options import RunFolder
from cprec_lib.files import named_path


def export(
    folder: RunFolder,
    out: Annotated[
        Path,
        typer.Option(help="Folder that receives the model.", parser=named_path, metavar="PATH"),
    ],
) -> None:
    """Export a run's model, to be served without torch.

    Writes the middle layers as ONNX, and the tables and the items' names beside them.
    """
    from cprec_lib.export.folder import export_run

    manifest = export_run(folder, out)
    size = sum((out / name).stat().st_size for name in manifest.sha256)
    say(f"{manifest.name}, {manifest.n_items:,} items, {size:,} bytes. Written to {out}")
