"""How Sphinx builds the site of the course: nothing in it comes from the network."""

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

project = html_title = "CpRec, step by step"
extensions = ["myst_nb", "sphinx_design", "sphinx_revealjs"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the notebooks were run before, and measured
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # would come from a CDN; pages have no kernel
# myst-nb knows what the builder `html` prefers; slides prefer the same.
nb_mime_priority_overrides = [
    ("revealjs", kind, priority)
    for priority, kind in enumerate(("image/png", "text/html", "text/markdown", "text/plain"))
]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["course.css"]
revealjs_static_path = ["static"]
revealjs_css_files = ["slides.css"]
revealjs_style_theme = "white"
revealjs_script_conf = {
    "width": 1280,
    "height": 800,
    "center": False,
    "hash": True,
    "slideNumber": "c/t",
    "transition": "none",
}
html_math_renderer = "mathml"
html_copy_source = html_use_index = html_show_sphinx = html_show_copyright = False
html_show_search_summary = False  # browsers let no page read another one from a file


def _mathml(writer: Any, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers show without a script."""
    try:
        writer.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    except Exception as error:  # docutils raises its own and plain kinds
        message = f"The formula {node.astext()!r} cannot be shown: {error}"
        logging.getLogger(__name__).warning(message, location=node)
        writer.body.append(f"<code>{writer.encode(node.astext())}</code>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
