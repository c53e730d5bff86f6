"""Names of items: looked up, searched, and the nearest ones named."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib.serve import items
from cprec_lib.serve.items import Names, pack

FILMS = ["Star Wars (1977)", "Fargo (1996)", "star wars (1977)", "Fargo (1996)", "", "Amélie\n2"]
texts = st.lists(st.text(alphabet="aAbé\n", max_size=4), min_size=1, max_size=12)


def named(titles: list[str]) -> Names:
    return Names(pack(titles, "titles"), "titles")


@given(texts)
def test_names_come_back_in_their_order(titles):
    names = named(titles)
    assert len(names) == len(titles)
    assert [*names] == titles
    assert names[-1] == titles[-1]
    assert names[1:3] == titles[1:3]
    with pytest.raises(IndexError):
        names[len(titles)]


@given(texts, st.data())
def test_a_name_finds_the_most_popular_item_that_has_it(titles, data):
    wanted = data.draw(st.sampled_from(titles))
    assert named(titles).find(wanted) == titles.index(wanted) + 1


@given(texts, st.text(alphabet="aAbé\n", max_size=3), st.integers(0, 5), st.integers(1, 5))
def test_a_search_finds_what_contains_the_text(titles, part, limit, at_once):
    def lower(text: str) -> bytes:
        return text.encode().lower()

    everywhere = [i for i, title in enumerate(titles, 1) if lower(part) in lower(title)]
    if not part:  # an item without a name has no place in the text
        everywhere = [item for item in everywhere if titles[item - 1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "AT_ONCE", at_once)
        found = [*named(titles).containing(part, limit)]
    assert [*chain.from_iterable(found)] == everywhere[:limit]
    if limit <= len(everywhere):  # a search ends with the last item that is wanted
        assert len(found) == -(-max(everywhere[:limit], default=0) // at_once)


def test_another_case_is_second_to_the_exact_name():
    names = named(FILMS)
    assert names.find("star wars (1977)") == 3
    assert names.find("STAR WARS (1977)") == 1
    assert names.find("fargo (1996)") == 2


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"called 'Star Warz \(1977\)'; the nearest are: Star Wars"
    ):
        named(FILMS).find("Star Warz (1977)")


def test_the_message_of_an_endless_name_is_short():
    with pytest.raises(ValueError) as caught:
        named(FILMS).find("x" * 10**6)
    assert len(str(caught.value)) < 400


def test_half_a_character_is_an_unknown_name():
    with pytest.raises(ValueError, match="no item is called"):
        named(FILMS).find("\ud800")
