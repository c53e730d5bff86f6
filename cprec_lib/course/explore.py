"""Interactive explorables: pictures of a few presets, then controls to choose for yourself.

Each function here returns an `Explorable`; as the last line of a notebook's cell it shows itself.
All tables are made before; a control looks up and draws.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from textwrap import shorten
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cprec_lib.course.figures import pictures
from cprec_lib.course.figures.plots import show
from cprec_lib.course.popularity import block_table
from cprec_lib.data.datasets import find_item
from cprec_lib.data.sequences import SequenceData
from cprec_lib.evidence.records import Result, values
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.middle import DilatedCNN
from cprec_lib.model.partition import BlockPartition, cutoffs_from_shares
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.sharing import SHARING, distinct_convolutions
from cprec_lib.train.evaluation import Interval, interval

DPI = 100
LIVE = "The controls appear here when the cell runs in JupyterLab."


@dataclass(frozen=True)
class Control:
    """One choice: a label, a sentence on what it does, and its values with their names.

    `kind` is "slider" for values in an order, "list" for names, "search" for text of which the
    options are suggestions. `start` is the value that it opens with.
    """

    label: str
    says: str
    options: Mapping[str, Any]
    start: Any
    kind: str = "slider"

    def widget(self) -> ipywidgets.Widget:
        """The control as a widget that works with the keyboard alone."""
        common: dict[str, Any] = {
            "description": self.label,
            "tooltip": self.says,
            "value": self.start,
            "style": {"description_width": "initial"},
            "layout": {"width": "320px"},
        }
        if self.kind == "search":
            # Half a title is no title: wait for Enter.
            names = tuple(self.options)
            return ipywidgets.Combobox(options=names, continuous_update=False, **common)
        options = tuple(self.options.items())
        if self.kind == "list":
            return ipywidgets.Dropdown(options=options, **common)
        # While a frame is drawn the browser keeps only the newest place of the handle.
        return ipywidgets.SelectionSlider(options=options, continuous_update=True, **common)


@dataclass(frozen=True)
class Explorable:
    """A picture with controls; `name` is unique in a notebook.

    `look_up` turns the controls' values into a state, and raises ValueError, with a sentence for
    the reader, for values that make none. `draw` draws one state or several, `say` puts one into
    words. Each preset has one value for each control.
    """

    name: str
    controls: tuple[Control, ...]
    look_up: Callable[..., Any]
    draw: Callable[[Sequence[Any]], Figure]
    say: Callable[[Any], str]
    presets: tuple[tuple[Any, ...], ...]
    caption: str

    def show_presets(self) -> None:
        """The presets as one figure, for pages without a kernel."""
        states = [self.look_up(*values) for values in self.presets]
        alt = " ".join(self.say(state) for state in states)
        show(self.draw(states), f"explore-{self.name}", alt=alt, caption=self.caption)

    def image(self, *values: Any) -> str:
        """The picture for these values of the controls, as an HTML image."""
        return self._image(self.look_up(*values))

    def _image(self, state: Any) -> str:
        picture = io.BytesIO()
        figure = self.draw([state])
        figure.set_dpi(DPI)
        page: Any = FigureCanvasAgg(figure)
        page.print_png(picture)  # the figure's own savefig would draw twice
        data = base64.b64encode(picture.getvalue()).decode()
        alt, width = escape(self.say(state)), round(DPI * figure.get_figwidth())
        source = f"data:image/png;base64,{data}"
        return f'<img alt="{alt}" src="{source}" width="{width}" style="max-width: 100%">'

    def box(self) -> ipywidgets.Widget:
        """The controls with the picture; it follows every change of a control.

        What is wrong with a choice stands in the picture's place. Any other error stands there
        too, and is raised.
        """
        widgets = [control.widget() for control in self.controls]
        picture = ipywidgets.HTML(self.image(*(widget.value for widget in widgets)))

        def update(_: object) -> None:
            try:
                picture.value = self._image_or_advice(*(widget.value for widget in widgets))
            except Exception as error:
                picture.value = _message(f"{type(error).__name__}: {error}")
                raise

        rows = []
        for widget, control in zip(widgets, self.controls, strict=True):
            widget.observe(update, names="value")
            sentence = ipywidgets.HTML(f"<small>{escape(control.says)}</small>")
            rows += [widget, sentence.add_class("explore-sentence")]
        left = ipywidgets.VBox(rows, layout={"max_width": "340px"})
        layout = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}
        box = ipywidgets.Box([left, picture], layout=layout)
        return box.add_class("explore").add_class(f"explore-{self.name}")

    def _image_or_advice(self, *values: Any) -> str:
        try:
            state = self.look_up(*values)
        except ValueError as error:
            return _message(str(error))
        return self._image(state)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self.show_presets()
        # A page without widgets shows the plain text, so that must be a sentence.
        display({**self.box()._repr_mimebundle_(), "text/plain": LIVE}, raw=True)


def _message(text: str) -> str:
    return f'<p role="alert">{escape(text)}</p>'


def _percent(shares: Sequence[float]) -> dict[str, float]:
    return {f"{share:.0%}": share for share in shares}


def _named(values: Iterable[Any]) -> dict[str, Any]:
    return {str(value): value for value in values}


def _check_cuts(n_items: int) -> None:
    if n_items < SMALLEST:
        raise ValueError(
            f"{n_items} items cannot be cut as the controls offer: take {SMALLEST} or more"
        )


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


CUTS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FACTORS = (2, 4, 8, 16)
SMALLEST = 100
"""Items of which every cut offered leaves some on both sides."""


def tail(counts: np.ndarray, width: int = 64) -> Explorable:
    """What lies on each side of a cut through a catalogue with these `counts` [N], falling.

    Raises ValueError for fewer than 100 items.
    """
    n_items = len(counts)
    _check_cuts(n_items)
    spots = np.unique(np.linspace(0, n_items - 1, 150).round().astype(int))
    curve = (spots + 1) / n_items, counts[spots]

    def cut(share: float, factor: int) -> pictures.Cut:
        head = cutoffs_from_shares(n_items, [share])
        table = block_table(counts, BlockPartition.decaying(n_items, head, width, factor))
        parts = {
            "items, and\nuncut table": table["share_of_items"],
            "interactions": table["share_of_interactions"],
            "cut table": table["decomposed"] / table["full"].sum(),
        }
        title = f"Head {share:.0%}, tail {factor} times narrower"
        rows = {name: (shares.iloc[0], shares.iloc[1]) for name, shares in parts.items()}
        return pictures.Cut(title, share, rows)

    table = {(share, factor): cut(share, factor) for share in CUTS for factor in FACTORS}

    def say(state: pictures.Cut) -> str:
        served, kept = state.parts["interactions"][0], sum(state.parts["cut table"])
        return (
            f"{state.title}: the head has {served:.0%} of the interactions, and the cut table "
            f"{kept:.0%} of the parameters."
        )

    return Explorable(
        "tail",
        (
            Control(
                "Head", "Where the catalogue is cut: its share of the items.", _percent(CUTS), 0.2
            ),
            Control(
                "Factor",
                "How many times narrower the rows of the tail are.",
                _named(FACTORS),
                4,
            ),
        ),
        lambda share, factor: table[share, factor],
        lambda states: pictures.tail(curve, states),
        say,
        ((CUTS[0], FACTORS[0]), (0.2, 4), (CUTS[-1], FACTORS[-1])),
        f"One cut through an embedding table of {n_items:,} items and width {width}. The cut "
        "table's bar holds the tail's projection; it can be longer than the uncut table.",
    )


FIRST_CUTS, SECOND_CUTS = (0.01, 0.02, 0.05, 0.1, 0.15), (0.2, 0.33, 0.5, 0.8)
WIDTHS = (16, 32, 64, 128, 256, 512)


def partition(n_items: int) -> Explorable:
    """What three blocks save in the bread of a catalogue of `n_items`, by the ledger.

    Raises ValueError for fewer than 100 items.
    """
    _check_cuts(n_items)

    def bread(first: float, second: float, width: int, factor: int) -> pictures.Bread:
        cutoffs = cutoffs_from_shares(n_items, [first, second])
        settings: dict[str, Any] = {"dilations": (), "cutoffs": cutoffs, "factor": factor}
        whole = ModelConfig(n_items, width, **settings)
        config = replace(whole, block_input=True, block_softmax=True)
        parts = {"head": 0, "block 2": 0, "block 3": 0, "projections and tokens": 0}
        for entry in count_parameters(config).entries:
            name = entry.component.removesuffix(" table")
            parts[name if name in parts else "projections and tokens"] += entry.parameters
        sizes = (size * (2 * width + 1) for size in config.partition.sizes)
        uncut = dict(zip(parts, (*sizes, 0), strict=True))
        times = count_parameters(whole).total / sum(parts.values())
        widths = _join([str(each) for each in config.partition.widths])
        title = f"Cut at {first:.0%} and {second:.0%}, widths {widths}: {times:.1f} times smaller"
        return pictures.Bread(title, uncut, parts)

    def say(state: pictures.Bread) -> str:
        return (
            f"{state.title}, {sum(state.uncut.values()):,} parameters uncut and "
            f"{sum(state.cut.values()):,} cut, of them {state.cut['head']:,} in the head."
        )

    return Explorable(
        "partition",
        (
            Control(
                "Head",
                "The share of the items that keep the full width.",
                _percent(FIRST_CUTS),
                0.05,
            ),
            Control(
                "Block 2 ends at", "The items beyond it form block 3.", _percent(SECOND_CUTS), 0.2
            ),
            Control("Width", "The width of the head, and of the model.", _named(WIDTHS), 64),
            Control(
                "Factor",
                "How many times narrower each block is than the one before.",
                _named(FACTORS),
                4,
            ),
        ),
        bread,
        pictures.bread,
        say,
        (
            (FIRST_CUTS[0], SECOND_CUTS[0], WIDTHS[-1], FACTORS[-1]),
            (0.05, 0.2, 64, 4),
            (FIRST_CUTS[-1], SECOND_CUTS[-1], WIDTHS[0], FACTORS[0]),
        ),
        f"The bread of a catalogue of {n_items:,} items, uncut and cut into three blocks, by the "
        "ledger. Each panel has a scale of its own.",
    )


def tree(
    log_prob: torch.Tensor,
    partition: BlockPartition,
    targets: torch.Tensor,
    last: Sequence[str],
    names: Mapping[int, str],
) -> Explorable:
    """Where a two-level softmax puts each user's probability, `log_prob` [U, N].

    `targets` [U] came next, after the items with the titles `last` [U]; `names` are titles by id.
    Raises ValueError if there are no users, or if the shapes do not fit.
    """
    expected = len(targets), partition.n_items
    if not len(targets) == len(last) > 0 or log_prob.shape != expected:
        raise ValueError(
            f"log_prob {[*log_prob.shape]} and {len(last)} last titles do not fit "
            f"{len(targets)} targets, one or more, and {partition.n_items} items"
        )
    chances = log_prob.detach().exp().numpy()
    masses = [chances[:, start:end].sum(1) for start, end in partition.bounds]
    bests = [
        np.partition(chances[:, start:end], -min(10, end - start), axis=1)[:, -10:].sum(1)
        for start, end in partition.bounds
    ]
    answers = targets.tolist()
    blocks = np.digitize(answers, [cutoff + 1 for cutoff in partition.cutoffs])
    titles = ["head", *(f"block {number}" for number in range(2, partition.n_blocks + 1))]

    def user_flow(user: int) -> pictures.Flow:
        answer = answers[user]
        chance = chances[user, answer - 1]
        before, after = (
            shorten(film, 45, placeholder=" …") for film in (last[user], names[answer])
        )
        title = f"User {user}, after {before}\nnext came {after}, with probability {chance:.1g}"
        mass = zip(titles, masses, bests, strict=True)
        flows = {name: (float(whole[user]), float(best[user])) for name, whole, best in mass}
        return pictures.Flow(title, flows, int(blocks[user]))

    def say(state: pictures.Flow) -> str:
        parts = [f"{name} {mass:.3f}" for name, (mass, _) in state.blocks.items()]
        came = list(state.blocks)[state.true_block]
        title = state.title.replace("\n", "; ")
        return f"{title}, in {came}. The root gives {_join(parts)}."

    users = _named(range(len(answers)))
    return Explorable(
        "tree",
        (Control("User", "Whose prediction is shown, by the order of the test part.", users, 0),),
        user_flow,
        pictures.flow,
        say,
        ((0,), (len(answers) // 2,), (len(answers) - 1,)),
        "Probability on its way through the two-level softmax. A block hands out what the root "
        "gave to it: to its ten most probable items, and, hatched, to all others.",
    )


STACKS = {
    "1 in every block": (1, 1, 1, 1),
    "1 and 4 in turn": (1, 4, 1, 4),
    "doubled from block to block": (1, 2, 4, 8),
    "4 in every block": (4, 4, 4, 4),
}
KERNELS = (2, 3, 5)


def gradient_by_age(
    dilations: Sequence[int], kernel_size: int, length: int = 200, seed: int = 0
) -> np.ndarray:
    """Mean size [L] of the gradient of a `DilatedCNN`'s last output at each item, newest first.

    Random weights and vectors, width 16. Zero where an item cannot reach the output.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        middle = DilatedCNN(16, dilations, kernel_size)
        vectors = torch.randn(4, length, 16, requires_grad=True)
    with torch.enable_grad():
        [gradient] = torch.autograd.grad(middle(vectors)[:, -1].square().sum(), vectors)
    sizes: np.ndarray = gradient.abs().mean((0, 2)).numpy()[::-1]
    return sizes


def reach(window: int = 50) -> Explorable:
    """Which past items reach a prediction: measured in a `DilatedCNN` for every choice offered."""
    most = len(next(iter(STACKS.values())))

    def measure(name: str, blocks: int, kernel_size: int) -> pictures.Reach:
        dilations = STACKS[name][:blocks]
        sizes = gradient_by_age(dilations, kernel_size)
        back = np.flatnonzero(sizes)
        listed = ", ".join(map(str, dilations))
        title = (
            f"Dilations {listed}, kernel {kernel_size}: {len(back)} items reach the prediction, "
            f"the oldest {back.max()} back"
        )
        return pictures.Reach(title, sizes)

    table = {
        (name, blocks, kernel_size): measure(name, blocks, kernel_size)
        for name in STACKS
        for blocks in range(1, most + 1)
        for kernel_size in KERNELS
    }

    def say(state: pictures.Reach) -> str:
        inside = int((state.sizes[:window] > 0).sum())
        return f"{state.title}; of the {window} items of a window {inside} do."

    first, *_, last = STACKS
    return Explorable(
        "reach",
        (
            Control(
                "Dilations",
                "How the dilation goes on from block to block.",
                _named(STACKS),
                "1 and 4 in turn",
                "list",
            ),
            Control(
                "Blocks",
                "How many residual blocks are stacked.",
                _named(range(1, most + 1)),
                most,
            ),
            Control("Kernel size", "How many taps each convolution has.", _named(KERNELS), 3),
        ),
        lambda name, blocks, kernel_size: table[name, blocks, kernel_size],
        lambda states: pictures.reach(states, window),
        say,
        (
            (first, 1, KERNELS[0]),
            ("1 and 4 in turn", most, 3),
            (last, 2, 3),
            (last, most, KERNELS[-1]),
        ),
        "Size of the gradient that reaches each past item (log scale), measured in untrained "
        f"stacks of width 16. Grey: a window of {window} items. Where no line stands, the "
        "gradient is exactly zero.",
    )


def sharing() -> Explorable:
    """Who shares with whom: a scheme and a number of residual blocks."""
    most = 8

    def say(state: tuple[str, int]) -> str:
        scheme, blocks = state
        stored = distinct_convolutions(scheme, blocks)
        plural = "s" * (stored > 1)
        return f"{scheme}, blocks: {blocks}. {2 * blocks} places use {stored} convolution{plural}."

    return Explorable(
        "sharing",
        (
            Control(
                "Scheme",
                "Which convolutions are one and the same.",
                _named(SHARING),
                "adjacent-block",
                "list",
            ),
            Control(
                "Blocks",
                "How many residual blocks the filling has.",
                _named(range(1, most + 1)),
                5,
            ),
        ),
        lambda scheme, blocks: (scheme, blocks),
        lambda states: pictures.sharing(states, columns=min(2, len(states))),
        say,
        tuple((scheme, blocks) for scheme in SHARING for blocks in (1, most)),
        "Who shares with whom, for one residual block and for eight. One letter, one convolution.",
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
    """The lists of one or more models after films picked by title, and what one more changes.

    `films` and `one_more` open the controls; `titles` are by original id. `cutoffs` are drawn as
    lines. Choices that name no film of the catalogue raise ValueError with the nearest titles; of
    films that share a title the most popular is meant. Raises ValueError if there is no model, no
    film, or an item without a title.
    """
    if not (models and films):
        raise ValueError("recommendations need a model and a film to start from")
    untitled = set(data.catalogue.items) - set(titles.dropna().index)
    if untitled:
        raise ValueError(f"{len(untitled)} items have no title, such as {min(untitled)}")
    known = titles.loc[data.catalogue.items]
    shown = dict(zip(range(1, data.n_items + 1), known, strict=True))

    by_title = {title: item for item, title in reversed(shown.items())}

    def film_id(title: str) -> int:
        if title in by_title:  # the search below takes its time
            return by_title[title]
        [item] = data.catalogue.ids([find_item(known, title)])
        return item

    def ids(chosen: Sequence[str]) -> list[int]:
        return [film_id(title) for title in chosen if title.strip()]

    def listings(*chosen: str) -> list[pictures.Listing]:
        before, after = ids(chosen[:-1]), ids(chosen)
        if not before:
            raise ValueError("Pick at least one film to start from.")
        states = []
        for name, model in models.items():
            _, found = model.recommend([before, after], k, exclude_seen=True)
            without, items = found.tolist()
            new = [item not in without for item in items]
            title = f"{name}: {sum(new)} of {k} new (◆)"
            states.append(pictures.Listing(title, [shown[item] for item in items], items, new))
        return states

    def say(state: Sequence[pictures.Listing]) -> str:
        return " ".join(
            f"{each.title.removesuffix(' (◆)')}. {'; '.join(each.items)}." for each in state
        )

    options = _named(sorted(known.unique()))
    opens = (*films, one_more)
    says = ["The oldest film of the history; a part of its title will do, then press Enter."]
    says += ["The next film; leave it empty for a shorter history."] * (len(films) - 1)
    says += ["The newest film. Diamonds mark what it brings into the list; empty it to compare."]
    labels = [*(f"Film {number}" for number in range(1, len(films) + 1)), "One more film"]
    return Explorable(
        "recommendations",
        tuple(
            Control(label, sentence, options, start, "search")
            for label, sentence, start in zip(labels, says, opens, strict=True)
        ),
        listings,
        lambda states: pictures.listings(states, cutoffs, data.n_items),
        say,
        ((films[0], *[""] * len(films)), (*films, ""), opens),
        f"From top to bottom the {k} best after {films[0]} alone, after "
        f"{_join(list(films))}, and after {one_more} on top, by popularity rank "
        "(log scale). A diamond is an item that the last film brought in."
        + (" Dashed lines end the head and block 2." if cutoffs else ""),
    )


BUDGETS = tuple(percent / 100 for percent in range(15, 101, 5))


def budget(recorded: dict[str, dict[str, list[Result]]], base: str = "NextItNet") -> Explorable:
    """Which recorded model wins within a budget of parameters: {data set: {model: its runs}}.

    The validation items choose the winner; its test NDCG@10 is compared with that of `base`,
    users paired and seeds averaged. Models larger than `base` are left out. Raises ValueError if a
    data set has no run of `base`, or if there is no data set.
    """
    lacking = [data_set for data_set, models in recorded.items() if not models.get(base)]
    if lacking or not recorded:
        raise ValueError(f"no recorded runs of {base} on {_join(lacking) or 'any data set'}")
    sizes: dict[str, dict[str, int]] = {}
    gaps: dict[str, dict[str, Interval]] = {}
    valid: dict[str, dict[str, float]] = {}
    for data_set, models in recorded.items():
        whole = models[base][0]["parameters"]
        fitting = {n: runs for n, runs in models.items() if 0 < runs[0]["parameters"] <= whole}
        own = values(models[base])
        sizes[data_set] = {name: runs[0]["parameters"] for name, runs in fitting.items()}
        gaps[data_set] = {name: interval(values(runs) - own) for name, runs in fitting.items()}
        valid[data_set] = {
            name: float(np.mean([run["valid"]["ndcg@10"] for run in runs]))
            for name, runs in fitting.items()
        }

    def choose(data_set: str, share: float) -> pictures.Budget:
        limit = int(share * sizes[data_set][base])
        within = [name for name, size in sizes[data_set].items() if size <= limit]
        winner = max(within, key=valid[data_set].__getitem__, default=None)
        result = "no recorded model is so small"
        if winner is not None:
            gap = gaps[data_set][winner]
            told = "better" if gap.low > 0 else "worse" if gap.high < 0 else "not told apart"
            result = f"{winner} wins\n{gap}: {told}" if winner != base else f"{base} itself wins"
        title = f"{data_set}, {share:.0%} of {base}, {limit:,} parameters: {result}"
        return pictures.Budget(title, sizes[data_set], gaps[data_set], limit, winner)

    first, last = next(iter(recorded)), next(reversed(recorded))
    return Explorable(
        "budget",
        (
            Control(
                "Data set",
                "Which recorded runs are compared.",
                _named(recorded),
                first,
                "list",
            ),
            Control(
                "Budget",
                "How large a model may be, as a share of the uncompressed one.",
                _percent(BUDGETS),
                0.35,
            ),
        ),
        choose,
        pictures.budget,
        lambda state: state.title.replace("\n", ", ") + ".",
        ((first, BUDGETS[0]), (first, 0.35), (last, 0.35), (last, BUDGETS[-1])),
        f"Test NDCG@10 of recorded models minus {base}'s, with 95 % paired intervals over users, "
        "by size. Of the models left of the dashed line, the one with the best validation NDCG@10 "
        "wins.",
    )
