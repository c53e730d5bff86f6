"""Colours for every eye, plain text, error bars, and `show`."""

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from matplotlib.image import imread

from cprec_lib import Interval
from cprec_lib.course.figures import cost, style
from tests.course.figures.drawings import ledgers, nine


def test_colours_fall_in_darkness():
    lightness = [np.dot(colour, [0.299, 0.587, 0.114]) for colour in style.colours(5)]
    assert lightness == sorted(lightness)
    assert np.diff(lightness).min() > 0.05


def test_neighbouring_series_differ_in_more_than_colour():
    styles = [look for _, _, look in style.styled(nine(0))]
    assert len(styles) == 9
    assert len({look.colour for look in styles}) == 9
    for one, other in itertools.pairwise(styles):
        assert one.marker != other.marker and one.line != other.line and one.hatch != other.hatch


def test_show_displays_the_picture_with_its_alternative_text_and_caption(shown, monkeypatch):
    monkeypatch.delenv("CPREC_FIGURES", raising=False)
    style.show(cost.parameter_bars(ledgers(2)), "bars", alt="Two bars.", caption="Sizes.")
    picture, caption = shown
    data, metadata = picture._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == "Two bars."
    assert set(data) == {"image/png"}
    assert caption.data == "*Sizes.*"


def test_show_writes_png_and_svg_where_the_prefix_says(shown, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("CPREC_FIGURES", str(tmp_path / "new" / "01_notebook"))
    figure = cost.parameter_bars(ledgers(2))
    style.show(figure, "bars", alt="Two bars.", caption="Sizes.")
    written = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in written] == ["01_notebook-bars.png", "01_notebook-bars.svg"]
    pixels = imread(written[0])
    assert pixels.shape[1] == pytest.approx(200 * figure.get_figwidth(), abs=1)
    assert pixels[..., 3].min() == 1  # opaque
    assert ElementTree.parse(written[1]).getroot().tag.endswith("svg")


def test_show_writes_nothing_without_a_prefix(shown, monkeypatch, tmp_path: Path):
    monkeypatch.delenv("CPREC_FIGURES", raising=False)
    monkeypatch.chdir(tmp_path)
    style.show(cost.parameter_bars(ledgers(1)), "bars", alt="A bar.", caption="Size.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [r"a $\frac{$", "_x_ *y* `z`", "a | b [c](d)", "<b>&lt;~~e~~", "\\* $1 $2", "one\n\n# two"],
)
def test_a_caption_is_shown_as_it_is_written(shown, text):
    style.show(style.canvas()[0], "empty", alt="Nothing.", caption=text)
    html = MarkdownIt("commonmark", {"xhtmlOut": True}).render(shown[1].data)
    [[emphasis]] = ElementTree.fromstring(f"<div>{html}</div>")
    assert emphasis.tag == "em"
    assert "".join(emphasis.itertext()).split() == text.split()
    dollars = [child.text for child in emphasis]  # each in an element of its own
    assert dollars == ["$"] * text.count("$")


def test_plain_keeps_what_can_be_shown():
    assert style.plain("L\u00e9on\u00a0(1994)\nII") == "L\u00e9on\u00a0(1994)\nII"
    assert style.plain(7) == "7"
    assert style.plain("a\x1b\tb\ud800") == "a\ufffd\ufffdb\ufffd"


@pytest.mark.parametrize("lying", [False, True])
def test_error_bars_go_from_the_low_to_the_high_end(lying):
    _, [axes] = style.canvas()
    style.error_bars(axes, [3, 5], [Interval(0.5, 0.1, 0.6), Interval(1, 1, 2)], lying=lying)
    bars = axes.containers[0].lines[2][0].get_segments()
    along, across = (0, 1) if lying else (1, 0)
    np.testing.assert_allclose([bar[:, along] for bar in bars], [[0.1, 0.6], [1, 2]])
    assert [bar[0, across] for bar in bars] == [3, 5]


MACHADO = {
    "greyscale": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
"""Colours as they are seen, in linear RGB: Machado, Oliveira and Fernandes, 2009, severity 1."""


def lightness(colour: Any, sight: str) -> float:
    """CIE L* of a colour, 0 to 100, for an eye of this kind."""
    rgb = np.array(colour[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(MACHADO[sight] @ linear, 0, 1)
    luminance = seen @ [0.2126, 0.7152, 0.0722]
    return float(116 * np.cbrt(luminance) - 16 if luminance > 0.008856 else 903.3 * luminance)


@pytest.mark.parametrize("sight", MACHADO)
@pytest.mark.parametrize("n", range(2, 10))
def test_neighbouring_series_differ_in_lightness_for_every_eye(n, sight):
    """By 5 of 100 or more, up to eight series; a palette of n gives n - 1 of them."""
    series = [lightness(colour, sight) for colour in style.colours(n)]
    assert series == sorted(series)
    assert np.diff(series).min() >= 5


@pytest.mark.parametrize("sight", MACHADO)
def test_the_two_colours_of_head_and_tail_are_far_apart(sight):
    head, tail, _ = (lightness(colour, sight) for colour in style.colours(3))
    assert tail - head >= 15
