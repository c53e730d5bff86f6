"""The recommendations after chosen films, and what one more film changes."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import pandas as pd

from cprec_lib.course.explore.explorable import Control, Explorable, join, named
from cprec_lib.course.figures.popularity import Listing, listings
from cprec_lib.data.sequences import Catalogue, SequenceData
from cprec_lib.logs.datasets import find_item
from cprec_lib.model.recommender import SequentialRecommender

OLDEST = "The oldest film of the history; a part of its title will do, then press Enter."
NEXT = "The next film; leave it empty for a shorter history."
NEWEST = "The newest film. Diamonds mark what it brings into the list; empty it to compare."


class Titles:
    """Titles [N] of a catalogue's items, and a search for items by title.

    `titles` are by original id. Raises ValueError if an item has none.
    """

    def __init__(self, catalogue: Catalogue, titles: pd.Series) -> None:
        if untitled := set(catalogue.items) - set(titles.dropna().index):
            raise ValueError(f"{len(untitled)} items have no title, such as {min(untitled)}")
        self.known = titles.loc[catalogue.items]
        self.by_id = dict(enumerate(self.known, start=1))
        self._ids = {title: item for item, title in reversed(self.by_id.items())}
        self._catalogue = catalogue

    def find(self, chosen: Sequence[str]) -> list[int]:
        """Ids by a whole title or a part of it; empty texts are ignored.

        If several items have the same title, the most popular one is chosen. Raises ValueError,
        with the nearest titles, if a text matches none.
        """
        return [self._id(title) for title in chosen if title.strip()]

    def _id(self, title: str) -> int:
        if title in self._ids:  # the search below is slow
            return self._ids[title]
        [item] = self._catalogue.ids([find_item(self.known, title)])
        return int(item)


def say(state: Sequence[Listing]) -> str:
    """The state in words."""
    titles = [listing.title.removesuffix(" (◆)").replace("\n", " ") for listing in state]
    return " ".join(f"{t}. {'; '.join(s.items)}." for t, s in zip(titles, state, strict=True))


def film_controls(titles: Titles, opens: Sequence[str]) -> tuple[Control, ...]:
    """A search box for each film of the initial history, the newest last."""
    options = named(sorted(titles.known.unique()))
    labels = [*(f"Film {number}" for number in range(1, len(opens))), "One more film"]
    says = [OLDEST, *[NEXT] * (len(opens) - 2), NEWEST]
    return tuple(
        Control(label, sentence, options, start, "search")
        for label, sentence, start in zip(labels, says, opens, strict=True)
    )


def recommendations(
    models: Mapping[str, SequentialRecommender],
    data: SequenceData,
    titles: pd.Series,
    films: Sequence[str],
    one_more: str,
    cutoffs: Sequence[int] = (),
    k: int = 8,
) -> Explorable:
    """Recommendations of one or more models after chosen films, and what one more film changes.

    `films` and `one_more` are the initial choices; `titles` are by original id. `cutoffs` are drawn
    as lines. A choice that names no film of the catalogue raises ValueError with the nearest
    titles. Raises ValueError if there is no model, no film, or an item without a title.
    """
    if not (models and films):
        raise ValueError("recommendations need a model and a film to start from")
    catalogue = Titles(data.catalogue, titles)

    def lists(*chosen: str) -> list[Listing]:
        before, after = catalogue.find(chosen[:-1]), catalogue.find(chosen)
        if not before:
            raise ValueError("Pick at least one film to start from.")
        states = []
        for name, model in models.items():
            _, found = model.recommend([before, after], k, exclude_seen=True)
            without, items = found.tolist()
            new = [item not in without for item in items]
            shown = [catalogue.by_id[item] for item in items]
            count = f"\n{sum(new)} of {k} new (◆)" if after != before else ""
            read = fill(f"{name}, after " + "; ".join(catalogue.by_id[item] for item in after), 66)
            states.append(Listing(f"{read}{count}", shown, items, new))
        return states

    opens = (*films, one_more)
    return Explorable(
        "recommendations",
        film_controls(catalogue, opens),
        lists,
        lambda states: listings(states, cutoffs, data.n_items),
        say,
        ((films[0], *[""] * len(films)), (*films, ""), opens),
        f"From top to bottom: the {k} best films after {films[0]} alone, after {join(films)}, "
        f"and after these and {one_more}. The axis of the popularity ranks has a log scale. "
        f"A diamond marks a film that {one_more} brought into the list."
        + (" Dashed lines end the head and block 2." if cutoffs else ""),
    )
