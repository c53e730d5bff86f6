"""Every picture at both ends of every control, in words, in time; controls, presets and box."""

import io
import re
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import IPython.display
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cprec_lib.course import explore
from cprec_lib.course.explore.explorable import LIVE, SMALLEST, Control, Explorable, join
from cprec_lib.course.figures import style
from tests.course.explore.explorables import (
    COUNTS,
    EXPLORABLES,
    TRICKY,
    check_drawn,
    corners,
    ends,
    parts,
)
from tests.course.figures.drawings import drawing_functions
from tools.execution import WIDGET_VIEW


def test_every_function_that_draws_states_has_an_explorable():
    drawn_by = {
        "load": "loads",
        "partition": "bread",
        "reach": "reach_in_window",
        "recommendations": "listings",
        "recorded_race": "budget",
        "sharing": "sharing_rows",
        "tail": "cut_sides",
        "tree": "flow",
    }
    assert set(drawn_by) == set(EXPLORABLES) == set(explore.__all__)
    assert drawing_functions(of_states=True) == set(drawn_by.values())


def test_each_is_drawn_at_both_ends_of_every_control(one):
    for values in corners(one):
        state = one.look_up(*values)
        check_drawn(one.draw([state]))
        assert one.say(state).endswith(".")


def test_the_presets_hold_both_ends_of_every_control(one):
    for place, control in enumerate(one.controls):
        shown = {values[place] for values in one.presets}
        expected = ends(control)
        if control.kind == "search":
            expected = [control.start] if place == 0 else [control.start, ""]
        assert set(expected) <= shown, control.label
    check_drawn(one.draw([one.look_up(*values) for values in one.presets]))


def test_every_control_has_a_label_a_sentence_and_its_start_among_its_values(one):
    for control in one.controls:
        assert control.label and control.says.endswith(".")
        assert control.start in list(control.options.values())
    assert one.caption.endswith(".")


def fastest(work: Callable[[], object], repeats: int = 7) -> float:
    """Fewest seconds of the processor; the first time, which reads fonts, does not count."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


def draw_nothing() -> None:
    """An empty picture: what a busy or slow machine needs for that, no frame can undercut."""
    figure, _ = style.canvas()
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure).print_png(io.BytesIO())


def test_a_frame_takes_under_200_ms(one):
    """Or, where the machine is busy, at most five times an empty picture."""
    seconds = fastest(lambda: one.image(*one.presets[-1]))
    assert seconds < 0.2 or seconds < 5 * fastest(draw_nothing)


def test_the_presets_are_small_and_described(one, shown):
    one._ipython_display_()
    picture = shown[0]
    data, metadata = picture._repr_mimebundle_()
    assert len(data["image/png"]) < 400_000
    assert len(metadata["image/png"]["alt"]) > 40
    bundle = shown[2]
    assert set(bundle) == {WIDGET_VIEW, "text/plain"}
    assert bundle["text/plain"] == LIVE


def test_the_presets_are_written_as_a_figure_of_their_own(made, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(IPython.display, "display", lambda *_, **__: None)
    monkeypatch.setenv("CPREC_FIGURES", str(tmp_path / "04"))
    made["sharing"].show_presets()
    assert {path.name for path in tmp_path.iterdir()} == {
        "04-explore-sharing.png",
        "04-explore-sharing.svg",
    }


def test_the_box_has_a_class_labels_sentences_and_one_image_with_text(one):
    box = one.box()
    assert {"explore", f"explore-{one.name}"} <= set(box._dom_classes)
    controls, picture = parts(box)
    assert [widget.description for widget in controls] == [c.label for c in one.controls]
    sentences = [child.value for child in box.children[0].children[1::2]]
    assert all(c.says in unescape(s) for c, s in zip(one.controls, sentences, strict=True))
    assert len(re.findall("<img ", picture.value)) == 1
    assert len(re.search('alt="([^"]+)"', picture.value)[1]) > 20
    assert "data:image/png;base64," in picture.value


def test_moving_any_control_changes_picture_and_text(one):
    controls, picture = parts(one.box())
    for widget, control in zip(controls, one.controls, strict=True):
        before = picture.value
        values = [value for value in control.options.values() if value != widget.value]
        widget.value = values[-1]
        assert picture.value != before and "<img" in picture.value, control.label


def test_a_control_with_one_value_is_not_shown():
    controls = (
        Control("Data set", "Which.", {"a": "a"}, "a", "list"),
        Control("Number", "Any.", {"1": 1, "2": 2}, 1),
    )
    one = Explorable(
        "one", controls, lambda *v: v, lambda _: style.canvas()[0], str, (("a", 1),), ""
    )
    [slider], picture = parts(one.box())
    before = picture.value
    slider.value = 2
    assert slider.description == "Number" and picture.value != before


def test_a_title_cannot_leave_the_text_of_the_image(made):
    for name in ("tree", "recommendations"):
        one = made[name]
        image = one.image(*one.presets[-1])
        alt = re.fullmatch('<img alt="([^"<>]+)" src="[^"]+" width="[0-9]+" style="[^"]+">', image)
        assert alt, image[:300]
    image = Explorable("x", (), lambda: 0, lambda _: Figure(), lambda _: TRICKY, (), "").image()
    assert unescape(re.search('alt="([^"]+)"', image)[1]) == TRICKY


def test_an_error_while_drawing_is_shown_and_raised():
    def draw(states: Any) -> Figure:
        if max(states) > 1:
            raise RuntimeError("<no> picture")
        return style.canvas()[0]

    control = Control("Number", "Any.", {"1": 1, "2": 2}, 1)
    broken = Explorable("broken", (control,), lambda n: n, draw, str, ((1,), (2,)), "")
    [slider], picture = parts(broken.box())
    with pytest.raises(RuntimeError, match="picture"):
        slider.value = 2
    assert "RuntimeError: &lt;no&gt; picture" in picture.value
    slider.value = 1
    assert "<img" in picture.value
    with pytest.raises(RuntimeError, match="picture"):
        broken.show_presets()


def test_the_smallest_catalogue_is_drawn_at_every_cut():
    counts = COUNTS[:SMALLEST]
    for one in (explore.tail(counts), explore.partition(len(counts))):
        for values in corners(one):
            check_drawn(one.draw([one.look_up(*values)]))


@pytest.mark.parametrize("draw", [explore.tail, lambda counts: explore.partition(len(counts))])
@pytest.mark.parametrize("n_items", [0, 1, 99])
def test_a_catalogue_too_small_to_cut_is_refused(draw: Callable[..., Explorable], n_items: int):
    with pytest.raises(ValueError, match=f"{n_items} items are too few.* give 100 or more"):
        draw(COUNTS[:n_items])


def test_names_are_joined_as_in_a_sentence():
    assert [join(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
