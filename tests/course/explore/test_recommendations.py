"""The lists after films picked by title."""

from collections.abc import Callable
from typing import Any

import pytest

from cprec_lib import SequentialRecommender, cprec
from cprec_lib.course import explore
from cprec_lib.course.explore.explorable import Explorable
from cprec_lib.course.figures.popularity import Listing, listings
from tests.course.explore.explorables import TRICKY, check_drawn, films, parts


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


def test_the_lists_are_the_models_own(made):
    [full, small] = made["recommendations"].look_up("Film 002 (1990)", "Film 003 (1990)", "")
    assert len(full.items) == len(small.items) == 8
    assert not any(full.new) and not any(small.new)
    assert not {"Film 002 (1990)", "Film 003 (1990)"} & set(full.items)
    changed = made["recommendations"].look_up("Film 002 (1990)", "Film 003 (1990)", TRICKY)
    for before, after in zip((full, small), changed, strict=True):
        assert [item not in before.ids for item in after.ids] == list(after.new)


def test_of_two_films_with_one_title_the_more_popular_is_meant():
    data, titles = films()
    popular, rare = data.catalogue.items[[0, -1]]
    titles[popular] = titles[rare] = "Twins (1988)"
    twins = with_films(titles=titles).look_up("Twins (1988)", "")
    titles[rare] = "Another (1988)"
    assert twins[0].ids == with_films(titles=titles).look_up("Twins (1988)", "")[0].ids


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


def test_a_title_is_no_formula():
    check_drawn(listings([[Listing("NextItNet", [TRICKY], [1], [True])]], (), 10))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: with_films(models={}), "need a model"),
        (lambda: with_films(films=[]), "a film to start from"),
        (lambda: with_films(titles=NO_FILM), "1 items have no title, such as 7"),
        (lambda: with_films(titles=NO_TITLE), "1 items have no title, such as 7"),
        (lambda: with_films(films=["Zebra"]).show_presets(), "the nearest are"),
        (lambda: with_films(k=60).show_presets(), "ask for fewer"),
    ],
)
def test_what_makes_no_picture_is_said(make: Callable[[], Any], message: str):
    with pytest.raises(ValueError, match=message):
        make()
