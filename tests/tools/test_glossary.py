"""The glossary: what the tool reads from a notebook, and the terms of the course in their order."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import glossary
from tools.glossary import LINK, NOTEBOOKS, PAGE, all_entries, anchor, definitions, texts

ENTRIES = all_entries()
ASKED_FOR = {
    *("dropout", "log-probability", "leak", "R²", "position", "underflow", "interval"),
    *("residual block", "GRU4Rec", "SASRec", "early stopping", "early-stopping rule"),
}


def link(text: str, to: str) -> str:
    return f"[{text}](../docs/glossary.md#{to})"


def write(folder: Path, name: str, *cells: str) -> Path:
    path = folder / f"{name}.ipynb"
    announced = new_markdown_cell(f"# A title\n\nA {link('**tap**', 'tap')} is announced.")
    text = [new_markdown_cell(cell) for cell in cells]
    nbformat.write(new_notebook(cells=[announced, new_code_cell("1"), *text]), path)
    return path


def test_the_sentence_around_a_bold_link_is_the_entry(tmp_path: Path) -> None:
    tap, rare = link("**tap**", "tap"), link("**Rare item**", "rare-item")
    path = write(
        tmp_path, "03_x", f"First. Each weight of a {link('kernel', 'k')} is a\n{tap}. Last."
    )
    write(tmp_path, "04_y", f"- one\n- {rare}: few **people** chose it.")
    [entry] = definitions(path)
    assert entry.sentence == "Each weight of a kernel is a **tap**."
    assert glossary.page(all_entries(tmp_path)).removeprefix(glossary.INTRODUCTION) == (
        "\n## Rare item\n\n**Rare item**: few people chose it. "
        "(notebook [04](../notebooks/04_y.ipynb))\n"
        "\n## Tap\n\nEach weight of a kernel is a **tap**. "
        "(notebook [03](../notebooks/03_x.ipynb))\n"
    )


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == glossary.page(ENTRIES)


def test_every_term_is_defined_once() -> None:
    terms = [anchor(entry.heading) for entry in ENTRIES]
    assert sorted(terms) == sorted({*terms})
    assert {term.casefold() for term in ASKED_FOR} <= {entry.term.casefold() for entry in ENTRIES}


def test_links_lead_to_entries_and_a_definition_to_its_own() -> None:
    known = {anchor(entry.heading) for entry in ENTRIES}
    for path in NOTEBOOKS.glob("*.ipynb"):
        for text in texts(path):
            for found in LINK.finditer(text):
                assert found["anchor"] in known, found[0]
                if found["text"].startswith("**"):
                    assert found["anchor"] == anchor(found["text"])


def mentions(term: str) -> re.Pattern[str]:
    """A term in the singular or plural."""
    stem = re.escape(term.removesuffix("y").removesuffix("s"))
    return re.compile(rf"(?<![\w-]){stem}(?:y|ies|s|es)?(?![\w-])", re.IGNORECASE)


def prose(text: str) -> str:
    """A text with spaces in place of formulas, code, headings, tables, and targets of links.

    Links to notebooks are hidden as a whole: they carry titles.
    """
    hidden = (
        r"\$\$.*?\$\$|\$[^$]*\$|```.*?```|`[^`]*`|^(?:#|\|)[^\n]*$"
        r"|\[[^\]]*\]\([^)]*\.ipynb[^)]*\)|(?<=\])\([^)]*\)"
    )
    blank = re.compile(hidden, flags=re.DOTALL | re.MULTILINE)
    return blank.sub(lambda found: " " * len(found[0]), text)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.term)
def test_a_term_is_defined_or_linked_where_it_is_first_used(entry: glossary.Entry) -> None:
    own = re.compile(rf"\[[^\]]+\]\(\.\./docs/glossary\.md#{re.escape(anchor(entry.heading))}\)")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for text in texts(path):
            use, explained = mentions(entry.term).search(prose(text)), own.search(text)
            if explained and (not use or explained.start() <= use.start()):
                return
            if use:
                start = max(0, use.start() - 60)
                pytest.fail(f"{path.stem} uses it before: ...{text[start : use.end() + 40]!r}")
