"""Every figure, at both ends of its arguments: drawn, named, labelled, and plain of text."""

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.text import Text

from cprec_lib.course import figures
from cprec_lib.course.figures.style import plain
from tests.course.figures import drawings
from tests.course.figures.drawings import DRAWINGS, NINE_SERIES, drawing_functions

HOSTILE = (
    r"$\frac{$",
    "$x_1$ and $y$",
    r"\$5 or $5",
    "_hidden_",
    "<b>|*bold*|`code`[link](x)",
    "100 % {0} %s",
    "\x1b[31mred\x00",
)


def hostile_names(n: int) -> list[str]:
    """n names that are markup, formulas, secrets or unprintable."""
    return [f"{HOSTILE[number % len(HOSTILE)]} {number}" for number in range(n)]


def test_every_function_that_draws_is_drawn_here_and_offered():
    assert drawing_functions(of_states=False) == set(DRAWINGS) == {*figures.__all__} - {"show"}


@pytest.mark.parametrize(
    "draw",
    [draw for ends in DRAWINGS.values() for draw in ends],
    ids=[f"{name}-{end}" for name in DRAWINGS for end in ("little", "much")],
)
def test_every_picture_fits_a_page_and_says_what_it_shows(draw):
    figure = draw()
    FigureCanvasAgg(figure).draw()  # the layout is made, and would warn, only now
    assert figure.get_facecolor() == (1, 1, 1, 1)
    width, height = figure.get_size_inches()
    assert 2 <= width <= 12 and 1 <= height <= 12
    assert figure.axes
    for axes in figure.axes:
        assert axes.get_title()
        if axes.axison:
            assert said(figure, axes, "x"), "the x axis has neither a label nor names"
            assert said(figure, axes, "y"), "the y axis has neither a label nor names"


def said(figure: Figure, axes: Axes, direction: str) -> bool:
    """Whether an axis has a label, if need be one shared by its row or column, or bears names."""
    if getattr(figure, f"get_sup{direction}label")():
        return True
    span = "colspan" if direction == "x" else "rowspan"
    place = getattr(axes.get_subplotspec(), span).start
    for other in figure.axes:
        shared = getattr(other.get_subplotspec(), span).start == place
        if shared and getattr(other, f"get_{direction}label")():
            return True
    ticks = [text.get_text() for text in getattr(axes, f"get_{direction}ticklabels")()]
    return any(character.isalpha() for tick in ticks for character in tick)


@pytest.mark.parametrize("draw", NINE_SERIES.values(), ids=NINE_SERIES)
@pytest.mark.parametrize("names", [drawings.names, hostile_names])
def test_no_series_is_dropped(draw, names, monkeypatch):
    monkeypatch.setattr(drawings, "names", names)
    drawn = [axes.get_legend_handles_labels()[1] for axes in draw().axes]
    expected = tuple(plain(name) for name in names(9))
    named = [sum(label.endswith(expected) for label in labels) for labels in drawn]
    assert 9 in named


@pytest.mark.parametrize("name", DRAWINGS)
def test_no_text_from_data_is_a_formula_or_stops_a_figure(name, monkeypatch):
    monkeypatch.setattr(drawings, "names", hostile_names)
    figure = DRAWINGS[name][1]()
    FigureCanvasAgg(figure).draw()
    texts = [text.get_text() for text in figure.findobj(Text)]
    formulas = [text for text in texts if is_math_text(text)]
    assert all("mathdefault" in text for text in formulas)  # the ticks of a log axis
