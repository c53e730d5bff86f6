"""Slides of the notebooks as they are stored: `python -m tools.slides` writes build/slides/."""

import argparse
import re
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.pages import (
    COURSE_TITLE,
    build,
    copy_docs,
    title_and_promise,
    with_alternative_texts,
)

ROOT = Path(__file__).resolve().parent.parent
NEW_SLIDE = "```{revealjs-break}\n:notitle:\n```"
# For the learner at the keyboard, not for the screen in front of the room.
_FOR_LEARNERS = re.compile(r"^(# exercises\.\w+\.hint\(\)|exercises\.\w+\.check\()", re.MULTILINE)
_IMPORTS = re.compile(r"^(import|from) ")
_QUESTION = "**Predict before you run.**"


def slides(notebook: NotebookNode) -> NotebookNode:
    """A copy in which a text and the code after it make a slide, without stubs and hints.

    After a question to predict, the code has a slide of its own, so that the room can answer first.
    """
    shown = with_alternative_texts(notebook)
    first, *others = shown.cells
    first.source = re.split(r"^\*\*Needs:\*\*", first.source, flags=re.MULTILINE)[0]
    cells = [first]
    for cell in others:
        is_code = cell.cell_type == "code"
        if is_code and _FOR_LEARNERS.search(cell.source):
            continue
        if is_code:
            starts = cells[-1].cell_type == "code" or _QUESTION in cells[-1].source
        else:
            starts = not cell.source.startswith("#")  # a heading starts a slide by itself
        if starts:
            cells.append(new_markdown_cell(NEW_SLIDE))
        if is_code and (_IMPORTS.match(cell.source) or "mystnb" in cell.metadata):
            cell.metadata["tags"] = ["remove-input"]  # the room looks at what comes out
        cells.append(cell)
    shown.cells = cells
    return shown


def write_slides(folder: Path, out: Path) -> None:
    """Write slides of every notebook of `folder`, and a page that lists them, to `out`."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        (source / "notebooks").mkdir(parents=True)
        lines = [f"# {COURSE_TITLE}\n"]
        for path in sorted(folder.glob("*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            title, _ = title_and_promise(notebook.cells[0].source)
            lines.append(f"- [{title or path.stem}](notebooks/{path.name})")
            nbformat.write(slides(notebook), source / "notebooks" / path.name)
        pages = [f"docs/{name}" for name in copy_docs(folder.resolve().parent / "docs", source)]
        contents = ["", "```{toctree}", ":hidden:", ":glob:", "notebooks/*", *pages, "```"]
        (source / "index.md").write_text("\n".join([*lines, *contents]), encoding="utf-8")
        build(source, out, "revealjs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.slides", description=__doc__)
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks")
    parser.add_argument("--out", type=Path, default=Path("build/slides"))
    arguments = parser.parse_args()
    write_slides(arguments.notebooks, arguments.out)
    print(f"To show the slides, open {arguments.out / 'index.html'}")
