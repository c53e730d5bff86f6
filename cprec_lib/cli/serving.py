"""Verbs of serving: export and serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cprec_lib.cli.console import say
from cprec_lib.cli.options import RunFolder, path, path_option, text_option, whole_option


def export(
    folder: RunFolder,
    out: Annotated[Path, path_option("Folder that receives the model.")],
) -> None:
    """Export a run's model, to be served without torch.

    Writes the middle layers as ONNX, and the tables and the items' names beside them.
    """
    from cprec_lib.export.folder import export_run

    manifest = export_run(folder, out)
    size = sum((out / name).stat().st_size for name in manifest.sha256)
    say(f"{manifest.name}, {manifest.n_items:,} items, {size:,} bytes. Written to {out}")


def serve(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder that `cprec export` wrote.", parser=path, metavar="DIR"),
    ],
    port: Annotated[int, whole_option("Port to listen on.", most=65535)] = 8000,
    host: Annotated[
        str, text_option("Address to listen on; others see it.", metavar="ADDRESS")
    ] = "127.0.0.1",
    compare: Annotated[
        Path | None, path_option("Second model for the page at /.", metavar="DIR")
    ] = None,
    events: Annotated[
        Path | None, path_option("File that keeps the users' events.", metavar="FILE")
    ] = None,
    max_users: Annotated[int, whole_option("Users whose states stay in memory.", least=1)] = 10_000,
) -> None:
    """Serve an exported model over HTTP, without torch."""
    # Its products are small, and a second thread would wait for requests beside the first.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from cprec_lib.serve.server import run
    from cprec_lib.serve.service import Service

    service = Service(folder, compare, events, max_users)
    address = f"[{host}]" if ":" in host else host
    say(f"{service.model.manifest.name}, {service.model.n_items:,} items: http://{address}:{port}/")
    run(service, host, port)
