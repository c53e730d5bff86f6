"""The executed notebooks and the glossary as a site that needs no network: Sphinx builds it."""

import base64
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbformat import NotebookNode

from tools import measured
from tools.execution import Measured

SITE = Path(__file__).resolve().parent / "site"
COURSE_TITLE = "CpRec, step by step"
# Of docs/, what a reader of the course is sent to; the rest is for those who change it.
DOCS = ("glossary", "claims", "evidence", "benchmarks", "big", "workshop")


def write_course(
    runs: Sequence[Measured], folder: Path, out: Path, headlines: Sequence[str]
) -> None:
    """Write the executed notebooks of `folder` and a site of them, with an index, to `out`.

    The site takes its other pages from docs/ beside `folder`. Raises CalledProcessError if Sphinx
    fails, which has then said why.
    """
    out.mkdir(parents=True, exist_ok=True)
    for run in runs:
        nbformat.write(run.notebook, out / f"{run.name}.ipynb")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        write_source(runs, folder.resolve().parent / "docs", source, headlines)
        build(source, out)


def write_source(
    runs: Sequence[Measured], docs: Path, source: Path, headlines: Sequence[str]
) -> None:
    """Write what Sphinx reads: notebooks/, docs/, covers/ and index.md."""
    for name in ("notebooks", "covers"):
        (source / name).mkdir(parents=True)
    pages = copy_docs(docs, source)
    entries = [describe(run, source) for run in runs]
    for run in runs:
        nbformat.write(for_sphinx(run), source / "notebooks" / f"{run.name}.ipynb")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(SITE), trim_blocks=True)
    text = environment.get_template("index.md.j2").render(
        title=COURSE_TITLE,
        picture=(docs / "parameters.png").exists(),
        entries=entries,
        pages=pages,
        headlines=headlines,
    )
    (source / "index.md").write_text(text, encoding="utf-8")


def copy_docs(docs: Path, source: Path) -> list[str]:
    """Copy the pages of DOCS, with the pictures of `docs`; returns the names that are there."""
    shutil.copytree(docs, source / "docs", ignore=shutil.ignore_patterns("*.md"))
    pages = [name for name in DOCS if (docs / f"{name}.md").exists()]
    for name in pages:
        shutil.copy(docs / f"{name}.md", source / "docs")
    return pages


def build(source: Path, out: Path, builder: str = "html") -> None:
    """Let Sphinx turn `source` into HTML, with the configuration of tools/site/conf.py."""
    doctrees = source.parent / "doctrees"
    options = ["-q", "-b", builder, "-c", SITE, "-d", doctrees]
    subprocess.run([sys.executable, "-m", "sphinx", *options, source, out], check=True)


def for_sphinx(run: Measured) -> NotebookNode:
    """A copy for myst-nb, with a note if the notebook failed."""
    notebook = with_alternative_texts(run.notebook)
    if run.failure:
        warning = f"**This notebook {run.status}: the rest of it was not run.**"
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(warning))
    return notebook


def with_alternative_texts(notebook: NotebookNode) -> NotebookNode:
    """A copy with the alternative texts of its pictures where myst-nb looks for them."""
    notebook = nbformat.from_dict(notebook)
    for cell, picture in _pictures(notebook):
        cell.metadata["mystnb"] = {"image": {"alt": picture.metadata["image/png"].get("alt", "")}}
    return notebook


def describe(run: Measured, source: Path) -> dict[str, Any]:
    """What the index says about a notebook; its first picture goes to covers/."""
    first = next((cell.source for cell in run.notebook.cells if cell.cell_type == "markdown"), "")
    title, promise = title_and_promise(first)
    cover = next((picture for _, picture in _pictures(run.notebook)), None)
    if cover:
        data = base64.b64decode(cover.data["image/png"])
        (source / "covers" / f"{run.name}.png").write_bytes(data)
    return {
        "name": run.name,
        "title": title or run.name,
        "promise": promise,
        "abilities": re.findall(r"^- .+$", first, re.MULTILINE),
        "minutes": "".join(re.findall(r"\*\*Reading:\*\* (.+)", first)[:1]),
        "measured": f"{measured.duration(run.seconds)}, {measured.memory(run.peak_bytes)}",
        "failure": run.status if run.failure else "",
        "cover": cover is not None,
    }


def title_and_promise(text: str) -> tuple[str, str]:
    """The heading that a text starts with and the paragraph below it; empty if there is none."""
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]
    if not paragraphs or not paragraphs[0].startswith("# "):
        return "", ""
    heading, _, below = paragraphs[0].partition("\n")
    promise = below.strip() or (paragraphs[1] if len(paragraphs) > 1 else "")
    return heading.removeprefix("# ").strip(), promise


def _pictures(notebook: NotebookNode) -> list[tuple[NotebookNode, NotebookNode]]:
    """The cells with a PNG among their outputs, each with that output."""
    return [
        (cell, output)
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
