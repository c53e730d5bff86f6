"""What a committed notebook must be; each check returns the problems it finds, as sentences."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from docutils.utils.math.latex2mathml import tex2mathml
from IPython.core.inputtransformer2 import TransformerManager
from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode

from tools.execution import WIDGET_VIEW, code_cells
from tools.measured import CLOSING, OPENING

LARGEST_BYTES = 3_000_000
# Magics that a notebook may use. nbval passes over one that fails, so each is one more risk.
ALLOWED_MAGICS: frozenset[str] = frozenset()
SHELL_CALLS = ("system", "getoutput")
MAGIC_CALLS = ("run_line_magic", "run_cell_magic")

_MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|root|Users|tmp|work|var|opt|mnt)/[\w.-]+|\b[A-Za-z]:\\+Users\\+\w+"
)
_PROGRESS_BAR = re.compile(r"\d+%\|.*?\| *\d.*")
_MEASURED = re.compile(
    rf"{OPENING}Measured on \d+ CPU cores: [\d.]+ (?:s|min), [\d.]+ GB\."
    rf"(?:<!-- [^>]* -->)?{CLOSING}"
)
_MARKDOWN_PICTURE_WITHOUT_ALT = re.compile(r"!\[\s*\]\([^)]*\)")
_HTML_PICTURE_WITHOUT_ALT = re.compile(r"<img(?![^>]*\balt=['\"][^'\"])[^>]*>")


def invalid_format(notebook: NotebookNode) -> list[str]:
    """Against nbformat's schema."""
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        return [f"It is no valid notebook: {error.message}"]
    return []


def errors(notebook: NotebookNode) -> list[str]:
    """Outputs that are exceptions."""
    return [
        f"Cell {place} ends in {output.ename}: {output.evalue}"
        for place, output in _outputs(notebook)
        if output.output_type == "error"
    ]


def stderr(notebook: NotebookNode) -> list[str]:
    """Warnings and log lines in the outputs."""
    return [
        f"Cell {place} wrote to stderr: {output.text[:80]!r}"
        for place, output in _outputs(notebook)
        if output.output_type == "stream" and output.name == "stderr"
    ]


def progress_bars(notebook: NotebookNode) -> list[str]:
    """Bars that were running when the outputs were taken: they change with every run."""
    return [
        f"Cell {place} shows a progress bar: {found.group()[:80]!r}"
        for place, text in _output_texts(notebook)
        for found in _PROGRESS_BAR.finditer(text)
    ]


def counts_out_of_order(notebook: NotebookNode) -> list[str]:
    """Execution counts that are not 1 to n from top to bottom."""
    counts = [cell.execution_count for _, cell in code_cells(notebook)]
    if counts == list(range(1, len(counts) + 1)):
        return []
    return [f"The execution counts are {counts}: run the notebook once, from top to bottom"]


def machine_paths(notebook: NotebookNode) -> list[str]:
    """Paths of somebody's machine in sources and outputs."""
    return [
        f"Cell {place} holds the path {found.group()}"
        for place, text in [*_sources(notebook), *_output_texts(notebook)]
        for found in _MACHINE_PATH.finditer(text)
    ]


def magics_and_shell_lines(notebook: NotebookNode) -> list[str]:
    """Lines such as `%magic` and `!command`, whose failures nbval does not see."""
    return [
        f"Cell {place} uses {call}"
        for place, cell in code_cells(notebook)
        for call in _ipython_calls(cell.source)
    ]


def pictures_without_alt(notebook: NotebookNode) -> list[str]:
    """Pictures in outputs and in text that a screen reader would pass over."""
    in_outputs = [
        f"Cell {place} shows an {kind} without alt text"
        for place, output in _outputs(notebook)
        for kind in output.get("data", {})
        if kind.startswith("image/") and not _alt(output, kind)
    ]
    texts = [*_markdown(notebook), *_output_texts(notebook)]
    in_texts = [
        f"Cell {place} shows a picture without alt text: {found.group()[:80]}"
        for place, text in texts
        for pattern in (_MARKDOWN_PICTURE_WITHOUT_ALT, _HTML_PICTURE_WITHOUT_ALT)
        for found in pattern.finditer(text)
    ]
    return in_outputs + in_texts


def unreadable_formulas(notebook: NotebookNode) -> list[str]:
    """Formulas that the pages could only show as source."""
    return [
        f"Cell {place} has a formula that cannot be turned into MathML: {formula} ({problem})"
        for place, text in _markdown(notebook)
        for formula in _formulas(text)
        if (problem := _unreadable(formula))
    ]


def missing_measurements(notebook: NotebookNode) -> list[str]:
    """Run time and memory, which `make figures` writes into the first text cell."""
    first = next((text for _, text in _markdown(notebook)), "")
    if _MEASURED.search(first):
        return []
    return ["The first text cell holds no measurement between its markers: run `make figures`"]


def wrong_header(notebook: NotebookNode, name: str, course: list[str]) -> list[str]:
    """A title or a map, the last line of the first text cell, that does not fit the course.

    `course` are the file names of all its notebooks, in their order.
    """
    first = next((text for _, text in _markdown(notebook)), "")
    found = [] if first.startswith(f"# {int(name[:2])}. ") else ["The title has another number"]
    places = first.splitlines()[-1].split(" · ")
    expected = [
        rf"\*\*{other[:2]} [^*\]]+\*\* \(you are here\)"
        if other == name
        else rf"\[{other[:2]} [^*\]]+\]\({re.escape(other)}\)"
        for other in course
    ]
    if len(places) == len(expected) and all(map(re.fullmatch, expected, places)):
        return found
    return [*found, "The map in the first text cell is not that of the course"]


def leftovers(notebook: NotebookNode) -> list[str]:
    """Widget states, widget views and execution times: nothing to see, and new in every run."""
    found = ["The notebook stores widget states"] if "widgets" in notebook.metadata else []
    for place, cell in code_cells(notebook):
        if "execution" in cell.metadata:
            found.append(f"Cell {place} stores when it ran")
        if any(WIDGET_VIEW in output.get("data", {}) for output in cell.outputs):
            found.append(f"Cell {place} shows a widget that no page can show")
    return found


def dead_links(notebook: NotebookNode, folder: Path) -> list[str]:
    """Links to files that are not there, seen from the notebook's folder."""
    return [
        f"Cell {place} links to {target}, which is not there"
        for place, text in _markdown(notebook)
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
        if not (folder / target).exists()
    ]


def too_large(path: Path) -> list[str]:
    """Files that would weigh on every clone."""
    size = path.stat().st_size
    if size <= LARGEST_BYTES:
        return []
    return [
        f"{path.name} has {size:,} bytes, over {LARGEST_BYTES:,}: draw fewer or smaller figures"
    ]


def words(notebook: NotebookNode) -> int:
    """Words of all text cells, those of folded answers and of tasks included."""
    return sum(len(text.split()) for _, text in _markdown(notebook))


def optional_reading(notebook: NotebookNode) -> int:
    """Minutes of reading of the sections whose headings end in `(optional, N minutes)`."""
    pattern = re.compile(r"^#+ .*\(optional, (\d+) minutes\)$", re.MULTILINE)
    return sum(int(found) for _, text in _markdown(notebook) for found in pattern.findall(text))


def missing_from_map(names: list[str], text: str) -> list[str]:
    """Notebooks that a map of the course leaves out."""
    return [f"The map does not name {name}" for name in names if name not in text]


CHECKS = (
    invalid_format,
    errors,
    stderr,
    progress_bars,
    counts_out_of_order,
    machine_paths,
    magics_and_shell_lines,
    pictures_without_alt,
    unreadable_formulas,
    missing_measurements,
    leftovers,
)


def _formulas(text: str) -> list[str]:
    blocks = MarkdownIt().use(dollarmath_plugin).use(amsmath_plugin).parse(text)
    tokens = [token for block in blocks for token in (block, *(block.children or ()))]
    return [token.content for token in tokens if "math" in token.type]


def _unreadable(formula: str) -> str:
    try:
        tex2mathml(formula, as_block=True)
    except Exception as error:  # docutils raises its own and plain kinds
        return str(error)
    return ""


def _sources(notebook: NotebookNode) -> list[tuple[int, str]]:
    return [(place, cell.source) for place, cell in enumerate(notebook.cells)]


def _markdown(notebook: NotebookNode) -> list[tuple[int, str]]:
    cells = enumerate(notebook.cells)
    return [(place, cell.source) for place, cell in cells if cell.cell_type == "markdown"]


def _outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    for place, cell in code_cells(notebook):
        for output in cell.outputs:
            yield place, output


def _output_texts(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """All that outputs hold as text; a picture's letters are no words."""
    for place, output in _outputs(notebook):
        yield place, output.get("text", "")
        yield place, "\n".join(output.get("traceback", []))
        for kind, content in output.get("data", {}).items():
            if not kind.startswith("image/"):
                yield place, str(content)


def _alt(output: NotebookNode, kind: str) -> str:
    metadata = output.metadata
    return str(metadata.get(kind, {}).get("alt") or metadata.get("alt") or "").strip()


def _ipython_calls(source: str) -> list[str]:
    """Magics and shell commands of a cell, however they are written."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [text for call in calls if (text := _ipython_call(call))]


def _ipython_call(call: ast.Call) -> str | None:
    if not (isinstance(call.func, ast.Attribute) and call.args):
        return None
    name, first = call.func.attr, ast.unparse(call.args[0]).strip("'\"")
    if name in SHELL_CALLS and ast.unparse(call.func.value) == "get_ipython()":
        return f"the shell command {first}"
    if name in MAGIC_CALLS and first not in ALLOWED_MAGICS:
        return f"the magic {first}"
    return None
