"""Explorables: every picture at both ends of every control, in words, for every eye, in time."""

import io
import itertools
import re
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import IPython.display
import ipywidgets
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cprec_lib import (
    BlockPartition,
    BlockSoftmax,
    SequenceData,
    SequentialRecommender,
    cprec,
    nextitnet,
)
from cprec_lib.course import explore
from cprec_lib.course.explore import Control, Explorable
from cprec_lib.course.figures import pictures, plots
from cprec_lib.evidence.records import pack_ranks
from cprec_lib.model.middle import receptive_field
from tools.execution import WIDGET_VIEW

COUNTS = np.ceil(2000 / np.arange(1, 1001))
N_USERS, N_FILMS = 40, 60
TRICKY = '<b>"Film" & $x$ $y_1$</b> with a Title That Goes on and on, or How Long Is Long (1998)'


def films() -> tuple[SequenceData, pd.Series]:
    """Random users and films; the first film's title is a trap for HTML and for mathtext."""
    draw = np.random.default_rng(0)
    items = draw.integers(1, N_FILMS + 1, 12 * N_USERS)
    items[:N_FILMS] = np.arange(1, N_FILMS + 1)
    users = np.repeat(np.arange(N_USERS), 12)
    table = pd.DataFrame({"user": users, "item": items, "timestamp": np.arange(len(items))})
    titles = pd.Series({item: f"Film {item:03d} (1990)" for item in range(1, N_FILMS + 1)})
    titles[1] = TRICKY
    return SequenceData.from_interactions(table, max_len=10), titles


def recommendations() -> Explorable:
    """Two untrained models."""
    data, titles = films()
    models = {
        "NextItNet": SequentialRecommender(nextitnet(data.n_items, 8)),
        "CpRec": SequentialRecommender(cprec(data.n_items, 8, (0.1, 0.33))),
    }
    return explore.recommendations(
        models, data, titles, ["Film 002 (1990)", "Film 003 (1990)"], TRICKY, (6, 20)
    )


def tree() -> Explorable:
    """A tree that is not trained, and titles that are traps."""
    partition = BlockPartition(300, (20, 100), (16, 4, 1))
    hidden = torch.randn(30, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        log_prob = BlockSoftmax(partition).log_prob(hidden)
    names = {item: f"Film {item}" for item in range(1, 301)}
    targets = torch.tensor([1, 20, 21, 100, 101, 300] * 5)
    return explore.tree(log_prob, partition, targets, [TRICKY] * 30, names)


def result(model: str, parameters: int, valid: float, ranks: list[int]) -> dict[str, Any]:
    """What `budget` reads of a recorded run."""
    return {
        "model": model,
        "parameters": parameters,
        "valid": {"ndcg@10": valid},
        "test_ranks": pack_ranks(np.array(ranks * 20)),
    }


def budget() -> Explorable:
    """Two data sets; the model that is best on the test is not best on the validation items."""
    runs = [
        result("NextItNet", 1000, 0.3, [1, 2, 3]),
        result("CpRec", 300, 0.2, [5, 6, 50]),
        result("narrower", 290, 0.1, [1, 2, 4]),
        result("too large", 1001, 0.9, [1, 1, 1]),
        result("popularity", 0, 0.8, [9, 9, 9]),
    ]
    recorded = {run["model"]: [run] for run in runs}
    return explore.budget({"one": recorded, "other": dict(list(recorded.items())[:2])})


EXPLORABLES: dict[str, Callable[[], Explorable]] = {
    "tail": lambda: explore.tail(COUNTS),
    "partition": lambda: explore.partition(1682),
    "tree": tree,
    "reach": explore.reach,
    "sharing": explore.sharing,
    "recommendations": recommendations,
    "budget": budget,
}


@pytest.fixture(scope="module")
def made() -> dict[str, Explorable]:
    """Each explorable once: some measure a table first."""
    return {name: make() for name, make in EXPLORABLES.items()}


@pytest.fixture(params=EXPLORABLES)
def one(request, made) -> Explorable:
    """Each explorable in turn."""
    return made[request.param]


def ends(control: Control) -> list[Any]:
    """First and last value of a control; a search may also be empty."""
    options = list(control.options.values())
    return (
        [control.start, options[-1], ""] if control.kind == "search" else [options[0], options[-1]]
    )


def corners(explorable: Explorable) -> list[tuple[Any, ...]]:
    """Every combination of the ends of the controls that makes a picture."""
    every = itertools.product(*map(ends, explorable.controls))
    return [values for values in every if explorable.name != "recommendations" or any(values[:-1])]


def check_drawn(figure: Figure) -> None:
    """Finite, titled, labelled, and within the canvas."""
    page = FigureCanvasAgg(figure)
    page.draw()
    for axes in figure.axes:
        assert axes.get_title() and axes.get_xlabel()
        assert axes.get_ylabel() or any(text.get_text() for text in axes.get_yticklabels())
        assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
        for patch in axes.patches:
            assert np.isfinite(patch.get_extents().get_points()).all()
        for line in axes.lines:
            assert np.isfinite(np.asarray(line.get_xydata(), dtype=float)).all()
        box = axes.title.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width, axes.get_title()


def test_every_drawing_function_has_an_explorable():
    drawing = {
        name
        for name, function in vars(pictures).items()
        if getattr(function, "__module__", "") == pictures.__name__
        and getattr(function, "__annotations__", {}).get("return") == "Figure"
        and name.islower()
    }
    alias = {"partition": "bread", "tree": "flow", "recommendations": "listings"}
    assert drawing - {"_grid"} == {alias.get(name, name) for name in EXPLORABLES}


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
    figure, _ = plots.canvas()
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
    assert bundle["text/plain"] == explore.LIVE


@pytest.fixture
def shown(monkeypatch) -> list[Any]:
    """What was displayed."""
    things: list[Any] = []
    monkeypatch.delenv("CPREC_FIGURES", raising=False)
    monkeypatch.setattr(IPython.display, "display", lambda *each, **_: things.extend(each))
    return things


def test_the_presets_are_written_as_a_figure_of_their_own(made, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(IPython.display, "display", lambda *_, **__: None)
    monkeypatch.setenv("CPREC_FIGURES", str(tmp_path / "04"))
    made["sharing"].show_presets()
    assert {path.name for path in tmp_path.iterdir()} == {
        "04-explore-sharing.png",
        "04-explore-sharing.svg",
    }


def parts(box: Any) -> tuple[list[Any], Any]:
    """The controls of a box, and its picture."""
    left, picture = box.children
    return [child for child in left.children if not isinstance(child, ipywidgets.HTML)], picture


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


def test_a_title_cannot_leave_the_text_of_the_image(made):
    for name in ("tree", "recommendations"):
        one = made[name]
        image = one.image(*one.presets[-1])
        alt = re.fullmatch('<img alt="([^"<>]+)" src="[^"]+" width="[0-9]+" style="[^"]+">', image)
        assert alt, image[:300]
    listing = pictures.Listing("NextItNet", [TRICKY], [1], [True])
    image = Explorable("x", (), lambda: 0, lambda _: Figure(), lambda _: TRICKY, (), "").image()
    assert unescape(re.search('alt="([^"]+)"', image)[1]) == TRICKY
    check_drawn(pictures.listings([[listing]], (), 10))


def test_an_unknown_title_is_answered_with_the_nearest_and_the_box_goes_on(made):
    controls, picture = parts(made["recommendations"].box())
    controls[0].value = "Film 0"
    assert 'role="alert"' in picture.value and "the nearest are" in picture.value
    controls[0].value = "<script>"
    assert "&lt;script&gt;" in picture.value and "<script>" not in picture.value
    controls[0].value = controls[1].value = ""
    assert "at least one film" in picture.value
    controls[0].value = "film 007"
    assert "<img" in picture.value


def test_an_error_while_drawing_is_shown_and_raised():
    def draw(states: Any) -> Figure:
        if max(states) > 1:
            raise RuntimeError("<no> picture")
        return plots.canvas()[0]

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


def with_films(**changes: Any) -> Explorable:
    """The lists of one untrained model, with other arguments."""
    data, titles = films()
    given: dict[str, Any] = {
        "models": {"CpRec": SequentialRecommender(cprec(data.n_items, 8, (0.1, 0.33)))},
        "data": data,
        "titles": titles,
        "films": ["Film 002 (1990)"],
        "one_more": "Film 003 (1990)",
    }
    return explore.recommendations(**given | changes)


NO_FILM, NO_TITLE = films()[1].drop(7), films()[1].replace("Film 007 (1990)", None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: explore.tail(COUNTS[:0]), "0 items cannot be cut"),
        (lambda: explore.tail(COUNTS[:99]), "99 items cannot be cut"),
        (lambda: explore.partition(1), "take 100 or more"),
        (lambda: with_films(models={}), "need a model"),
        (lambda: with_films(films=[]), "a film to start from"),
        (lambda: with_films(titles=NO_FILM), "1 items have no title, such as 7"),
        (lambda: with_films(titles=NO_TITLE), "1 items have no title, such as 7"),
        (lambda: with_films(films=["Zebra"]).show_presets(), "the nearest are"),
        (lambda: with_films(k=60).show_presets(), "ask for fewer"),
        (lambda: explore.budget({}), "no recorded runs of NextItNet on any data set"),
        (lambda: explore.budget({"one": {}}), "no recorded runs of NextItNet on one"),
        (lambda: explore.budget({"one": {"NextItNet": []}}), "of NextItNet on one"),
    ],
)
def test_what_makes_no_picture_is_said(make: Callable[[], Any], message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("users", "items", "titles"), [(0, 9, 0), (3, 8, 3), (3, 9, 1)])
def test_a_tree_needs_users_and_shapes_that_fit(users: int, items: int, titles: int):
    partition = BlockPartition(9, (2, 5), (4, 2, 1))
    targets = torch.ones(users, dtype=torch.long)
    with pytest.raises(ValueError, match="do not fit"):
        explore.tree(torch.zeros(users, items), partition, targets, ["A"] * titles, {1: "B"})


def test_the_smallest_catalogue_is_drawn_at_every_cut():
    counts = COUNTS[: explore.SMALLEST]
    for one in (explore.tail(counts), explore.partition(len(counts))):
        for values in corners(one):
            check_drawn(one.draw([one.look_up(*values)]))


def test_of_two_films_with_one_title_the_more_popular_is_meant():
    data, titles = films()
    popular, rare = data.catalogue.items[[0, -1]]
    titles[popular] = titles[rare] = "Twins (1988)"
    twins = with_films(titles=titles).look_up("Twins (1988)", "")
    titles[rare] = "Another (1988)"
    assert twins[0].ids == with_films(titles=titles).look_up("Twins (1988)", "")[0].ids


def test_the_tail_adds_up(made):
    cut = made["tail"].look_up(0.2, 4)
    assert cut.parts["interactions"] == pytest.approx(
        (COUNTS[:200].sum() / COUNTS.sum(), COUNTS[200:].sum() / COUNTS.sum())
    )
    assert sum(cut.parts["cut table"]) == pytest.approx(
        (200 * 64 + 800 * 16 + 16 * 64) / (1000 * 64)
    )


def test_the_bread_is_that_of_notebook_02(made):
    bread = made["partition"].look_up(0.05, 0.2, 64, 4)
    assert sum(bread.uncut.values()) == 1682 * (64 + 64 + 1)
    assert bread.cut["head"] == 2 * 84 * 64
    assert bread.cut["block 3"] == 2 * 1346 * 4
    assert sum(bread.cut.values()) == 2 * 16_072 + 2 * 64
    assert "6.7 times smaller" in bread.title


def test_the_flow_of_each_user_is_a_probability_and_finds_the_block(made):
    for user, block in enumerate([0, 0, 1, 1, 2, 2]):
        flow = made["tree"].look_up(user)
        assert sum(mass for mass, _ in flow.blocks.values()) == pytest.approx(1, abs=1e-5)
        assert all(0 < best <= mass for mass, best in flow.blocks.values())
        assert flow.true_block == block


@pytest.mark.parametrize(
    ("name", "blocks", "kernel_size"),
    [("1 and 4 in turn", 4, 3), ("doubled from block to block", 4, 5), ("1 in every block", 1, 2)],
)
def test_the_measured_reach_is_the_receptive_field(made, name, blocks, kernel_size):
    sizes = made["reach"].look_up(name, blocks, kernel_size).sizes
    field = receptive_field(explore.STACKS[name][:blocks], kernel_size)
    assert np.flatnonzero(sizes).tolist() == list(range(field))


def test_dilations_of_4_alone_reach_each_fourth_item_only(made):
    sizes = made["reach"].look_up("4 in every block", 2, 3).sizes
    assert np.flatnonzero(sizes).tolist() == list(range(0, 49, 4))


def test_measuring_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    explore.gradient_by_age((1,), 2, length=10)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_lists_are_the_models_own(made):
    [full, small] = made["recommendations"].look_up("Film 002 (1990)", "Film 003 (1990)", "")
    assert len(full.items) == len(small.items) == 8
    assert not any(full.new) and not any(small.new)
    assert not {"Film 002 (1990)", "Film 003 (1990)"} & set(full.items)
    changed = made["recommendations"].look_up("Film 002 (1990)", "Film 003 (1990)", TRICKY)
    for before, after in zip((full, small), changed, strict=True):
        assert [item not in before.ids for item in after.ids] == list(after.new)


def test_the_validation_items_choose_the_winner(made):
    look_up = made["budget"].look_up
    assert look_up("one", 0.15).winner is None
    assert look_up("one", 0.3).winner == "CpRec"
    assert "worse" in look_up("one", 0.3).title
    assert look_up("one", 1.0).winner == "NextItNet"
    assert set(look_up("one", 1.0).parameters) == {"NextItNet", "CpRec", "narrower"}


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
    series = [lightness(colour, sight) for colour in plots.colours(n)]
    assert series == sorted(series)
    assert np.diff(series).min() >= 5


@pytest.mark.parametrize("sight", MACHADO)
def test_the_two_colours_of_head_and_tail_are_far_apart(sight):
    head, tail, _ = (lightness(colour, sight) for colour in plots.colours(3))
    assert tail - head >= 15
