"""The glossary of the course: `python -m tools.glossary` writes docs/glossary.md.

A notebook defines a term by a bold link to the term's entry, `[**tap**](../docs/glossary.md#tap)`;
the sentence around it becomes the entry. A plain link leads to the entry from elsewhere.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
PAGE = ROOT / "docs" / "glossary.md"
INTRODUCTION = """\
# Glossary

Each entry is the sentence in which a notebook defines the term. To change one, change the notebook
and run `python -m tools.glossary`.
"""
LINK = re.compile(r"\[(?P<text>[^\]]+)\]\(\.\./docs/glossary\.md#(?P<anchor>[^)]+)\)")


@dataclass(frozen=True)
class Entry:
    """A term, the sentence that defines it, and the file name of the notebook, without its end."""

    term: str
    sentence: str
    notebook: str

    @property
    def heading(self) -> str:
        """The term as a heading."""
        return self.term[0].upper() + self.term[1:]


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def texts(path: Path) -> list[str]:
    """The text cells of a notebook, but for the first, which announces what will be learnt."""
    cells = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"][1:]


def definitions(path: Path) -> Iterator[Entry]:
    """The entries that a notebook defines, in its order."""
    for text in texts(path):
        for sentence in _sentences(text):
            for link in LINK.finditer(sentence):
                if link["text"].startswith("**"):
                    before, after = sentence[: link.start()], sentence[link.end() :]
                    whole = f"{_plain(before)}{link['text']}{_plain(after)}"
                    yield Entry(link["text"].strip("*"), whole.rstrip(":,.") + ".", path.stem)


def _sentences(text: str) -> list[str]:
    paragraphs = re.split(r"\n\s*\n|\n(?=(?:-|\d+\.) )", text)
    joined = [" ".join(paragraph.split()) for paragraph in paragraphs]
    pieces = [re.split(r"(?<=[.!?]) (?=[^a-z])", paragraph) for paragraph in joined]
    return [re.sub(r"^- ", "", piece) for parts in pieces for piece in parts]


def _plain(text: str) -> str:
    """A text without links, bold type and a heading in the line."""
    text = re.sub(r"^\*\*[^*]+\.\*\* ", "", text)
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).replace("**", "")


def page(entries: Sequence[Entry]) -> str:
    """The glossary as Markdown, in alphabetical order."""
    parts = [INTRODUCTION]
    for entry in sorted(entries, key=lambda entry: entry.heading.casefold()):
        source = f"[{entry.notebook[:2]}](../notebooks/{entry.notebook}.ipynb)"
        parts.append(f"## {entry.heading}\n\n{entry.sentence} (notebook {source})\n")
    return "\n".join(parts)


def all_entries(folder: Path = NOTEBOOKS) -> list[Entry]:
    """The entries of all notebooks, in the order of the course."""
    return [entry for path in sorted(folder.glob("*.ipynb")) for entry in definitions(path)]


if __name__ == "__main__":
    PAGE.write_text(page(all_entries()), encoding="utf-8", newline="\n")
