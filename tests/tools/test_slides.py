"""`make slides` on a notebook small enough to read here."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
PRINTED = new_output("stream", name="stdout", text="1,682 items\n")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slides of a folder with one notebook."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "notebooks").mkdir()
    (folder / "docs").mkdir()
    (folder / "docs" / "glossary.md").write_text("# Glossary\n\n## Tail\n\nRare items.\n")
    cells = [
        new_markdown_cell("# 0. Small\n\nA promise.\n\n**Needs:** nothing.\n\nthe map"),
        new_code_cell("import math", outputs=[PRINTED], execution_count=1),
        new_markdown_cell("## Count\n\nThe [tail](../docs/glossary.md#tail) has $N$ items."),
        new_code_cell("1 + 1", execution_count=2),
        new_markdown_cell("More text.\n\n**Predict before you run.** How many?"),
        new_code_cell("2 + 2", execution_count=3),
        new_markdown_cell("### Exercise: add\n\nAdd."),
        new_code_cell("answer = ...\nexercises.add.check(answer)", execution_count=4),
        new_code_cell("# exercises.add.hint()\n# exercises.add.solution()", execution_count=5),
    ]
    language = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    small = new_notebook(cells=cells, metadata=language)
    nbformat.write(small, folder / "notebooks" / "00_small.ipynb")
    options = ["--notebooks", folder / "notebooks", "--out", folder / "slides"]
    process = subprocess.run(
        [sys.executable, "-m", "tools.slides", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return folder / "slides"


def read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_a_text_and_the_code_after_it_make_a_slide(slides: Path) -> None:
    soup = read(slides / "notebooks" / "00_small.html")
    shown = [s.get_text() for s in soup.find_all("section") if not s.find("section")]
    assert len(shown) == 5
    assert "A promise." in shown[0] and "1,682 items" in shown[0]
    assert "1 + 1" in shown[1] and "tail" in shown[1]
    assert "Add." in shown[4]


def test_a_question_to_predict_stands_without_its_result(slides: Path) -> None:
    soup = read(slides / "notebooks" / "00_small.html")
    shown = [s.get_text() for s in soup.find_all("section") if not s.find("section")]
    assert "How many?" in shown[2] and "2 + 2" not in shown[2]
    assert "2 + 2" in shown[3]


def test_map_imports_stubs_and_hints_are_left_out(slides: Path) -> None:
    text = read(slides / "notebooks" / "00_small.html").get_text()
    for left_out in ("the map", "import math", "exercises.add"):
        assert left_out not in text


def test_slides_need_no_network(slides: Path) -> None:
    for name in ("index.html", "notebooks/00_small.html"):
        soup = read(slides / name)
        sources = [element["src"] for element in soup.find_all(src=True)]
        sources += [element["href"] for element in soup.find_all("link", href=True)]
        assert any("reveal" in source for source in sources)
        for source in sources:
            assert not urlsplit(source).netloc
            assert ((slides / name).parent / urlsplit(source).path).exists()


def test_the_first_page_leads_to_the_notebooks(slides: Path) -> None:
    links = {a.get_text(): a["href"] for a in read(slides / "index.html").find_all("a")}
    assert links["0. Small"] == "notebooks/00_small.html"
