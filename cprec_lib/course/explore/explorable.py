"""What all explorables share: controls, presets, and the box that shows them.

All tables are computed beforehand; a control only looks up and draws.
"""

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cprec_lib.course.figures.style import show

DPI = 100
LIVE = "The controls appear here when the cell runs in JupyterLab."
FACTORS = (2, 4, 8, 16)
SMALLEST = 100
"""Smallest catalogue for which every cut on offer leaves items on both sides."""


@dataclass(frozen=True)
class Control:
    """One choice: a label, a sentence on what it does, and its values with their names.

    `kind` is "slider" for ordered values, "list" for names, and "search" for text with the options
    as suggestions. `start` is the initial value.
    """

    label: str
    says: str
    options: Mapping[str, Any]
    start: Any
    kind: str = "slider"

    def widget(self) -> ipywidgets.Widget:
        """The control as a widget that can be used with the keyboard alone."""
        common: dict[str, Any] = {
            "description": self.label,
            "tooltip": self.says,
            "value": self.start,
            "style": {"description_width": "initial"},
            "layout": {"width": "320px"},
        }
        if self.kind == "search":
            # Wait for Enter, because half a title names no item.
            names = tuple(self.options)
            return ipywidgets.Combobox(options=names, continuous_update=False, **common)
        options = tuple(self.options.items())
        if self.kind == "list":
            return ipywidgets.Dropdown(options=options, **common)
        # While a frame is drawn, the browser keeps only the newest position of the handle.
        return ipywidgets.SelectionSlider(options=options, continuous_update=True, **common)


@dataclass(frozen=True)
class Explorable:
    """A picture with controls; `name` is unique in a notebook.

    `look_up` turns the controls' values into a state. For values without a state it raises
    ValueError with a sentence for the reader. `draw` draws one or more states, and `say` describes
    one in words. Each preset has one value for each control.
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
        """The controls with the picture, which is updated at every change of a control.

        A control with one value is not shown.
        If a choice is invalid, a sentence that says why replaces the picture. Any other error is
        shown there too, and is raised.
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
            if len(control.options) > 1:
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
        # A page without widgets shows the plain text, so it has to be a sentence.
        display({**self.box()._repr_mimebundle_(), "text/plain": LIVE}, raw=True)


def _message(text: str) -> str:
    return f'<p role="alert">{escape(text)}</p>'


def percent(shares: Iterable[float]) -> dict[str, float]:
    """Options of a control: shares by their names, such as "20%"."""
    return {f"{share:.0%}": share for share in shares}


def named(values: Iterable[Any]) -> dict[str, Any]:
    """Options of a control: values by their own names."""
    return {str(value): value for value in values}


def join(names: Sequence[str]) -> str:
    """Names as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def check_cuts(n_items: int) -> None:
    """Raise ValueError unless every cut that the controls offer leaves items on both sides."""
    if n_items < SMALLEST:
        raise ValueError(
            f"{n_items} items are too few for the cuts that the controls offer; give {SMALLEST} or "
            "more"
        )
