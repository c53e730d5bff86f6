"""Notebooks as web pages that need no network, with an index page."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from cprec_lib.machine import cpu_cores
from tools import measured
from tools.execution import Measured
from tools.formulas import to_mathml

TEMPLATES = Path(__file__).resolve().parent / "templates"
UNREAD_FORMULA = "unread-formula"
COURSE_TITLE = "CpRec, step by step"


class PageRenderer(IPythonRenderer):
    """Markdown as HTML, with formulas as MathML and links relative to the page."""

    def __init__(self, folder: Path, out: Path, **options: Any) -> None:
        super().__init__(escape=False, embed_images=True, path=str(folder), **options)
        self._folder, self._out = folder, out

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link; a link to a notebook leads to its page."""
        return super().link(text, page_link(url, self._folder, self._out), title)

    def block_html(self, html: str) -> str:
        """Tags as they are: the parser that embeds pictures would close a tag at once."""
        return super().block_html(html) if "<img" in html else f"{html}\n"

    def inline_math(self, body: str) -> str:
        """A formula inside a line."""
        return _formula(body, "inline")

    def block_math(self, body: str) -> str:
        """A formula on a line of its own."""
        return _formula(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        """A formula given as an environment, such as align."""
        return _formula(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


class PageExporter(HTMLExporter):
    """Turns notebooks of `folder` into pages for `out`."""

    def __init__(self, folder: Path, out: Path) -> None:
        self._folder, self._out = folder, out
        super().__init__(
            template_name="course",
            extra_template_basedirs=[str(TEMPLATES)],
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )

    def render_markdown(self, source: str, attachments: dict[str, Any] | None = None) -> str:
        """A piece of Markdown as HTML."""
        renderer = PageRenderer(self._folder, self._out, attachments=attachments)
        return MarkdownWithMath(renderer=renderer).render(source)

    @jinja2.pass_context
    def markdown2html(self, context: jinja2.runtime.Context, source: str) -> str:
        """The filter of that name in nbconvert's templates."""
        cell = context.get("cell", {})
        return self.render_markdown(source, cell.get("attachments", {}))


def write_course(
    runs: Sequence[Measured], folder: Path, out: Path, headlines: Sequence[str]
) -> None:
    """Write the executed notebooks, a page of each and an index of them to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    exporter = PageExporter(folder, out)
    entries = [describe(run, exporter) for run in runs]
    for run, page in zip(runs, _with_neighbours(entries), strict=True):
        nbformat.write(run.notebook, out / f"{run.name}.ipynb")
        html, _ = exporter.from_notebook_node(run.notebook, resources={"page": page})
        (out / page["file"]).write_text(html, encoding="utf-8")
    index = {"file": "index.html", "title": COURSE_TITLE, "style": stylesheet()}
    template = exporter.environment.get_template("contents.html.j2")
    html = template.render(page=index, entries=entries, headlines=headlines)
    (out / "index.html").write_text(html, encoding="utf-8")


def describe(run: Measured, exporter: PageExporter) -> dict[str, Any]:
    """What the frame of a page and the index say about a notebook."""
    title, promise = title_and_promise(run.notebook)
    return {
        "file": f"{run.name}.html",
        "title": title or run.name,
        "promise": exporter.render_markdown(promise),
        "measured": (
            f"Ran in {measured.duration(run.seconds)} with {measured.memory(run.peak_bytes)} "
            f"on {cpu_cores()} CPU cores."
        ),
        "failure": run.status if run.failure else "",
        "style": stylesheet(),
    }


def title_and_promise(notebook: NotebookNode) -> tuple[str, str]:
    """The first heading of a notebook and the paragraph below it; empty if there is none."""
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]
    if not paragraphs or not paragraphs[0].startswith("# "):
        return "", ""
    heading, _, below = paragraphs[0].partition("\n")
    promise = below.strip() or (paragraphs[1] if len(paragraphs) > 1 else "")
    return heading.removeprefix("# ").strip(), promise


def page_link(url: str, folder: Path, out: Path) -> str:
    """The target, from a page in `out`, of a link that a notebook in `folder` contains.

    A link to a notebook leads to its page; a link to another file of the repository is adjusted.
    """
    parts = urlsplit(url)
    if parts.scheme or parts.netloc or not parts.path:
        return url
    if parts.path.endswith(".ipynb") and (folder / parts.path).parent.resolve() == folder.resolve():
        path = Path(parts.path).with_suffix(".html").name
    else:
        path = Path(os.path.relpath(folder / parts.path, out)).as_posix()
    return parts._replace(path=path).geturl()


def stylesheet() -> str:
    """The style of every page, with colours of code for light and dark mode."""
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    own = (TEMPLATES / "course" / "style.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"


def _with_neighbours(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    before, after = [None, *entries[:-1]], [*entries[1:], None]
    return [
        {**entry, "previous": previous, "next": following}
        for entry, previous, following in zip(entries, before, after, strict=True)
    ]


def _formula(latex: str, display: str) -> str:
    try:
        return to_mathml(latex, display)
    except ValueError:  # show the source; the tests refuse such a formula
        return f'<code class="{UNREAD_FORMULA}">{escape(latex)}</code>'
