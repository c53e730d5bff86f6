"""Which model carries a load on the server."""

from typing import Any

from cprec_lib.course.explore.explorable import Control, Explorable, join, named
from cprec_lib.course.figures.serving import Load
from cprec_lib.course.figures.serving import loads as draw
from cprec_lib.evidence.statistics import carried

RATES = (5, 10, 20, 50, 100, 200, 500, 700)
LIMITS = {"10 ms": 10, "20 ms": 20, "50 ms": 50, "100 ms": 100}


def say(state: Load) -> str:
    """The state in words."""
    able = [name for name, carries in state.carries.items() if carries]
    models = join([f"{name.replace(',', '')}" for name in able])
    return f"{state.title}: carried by {models}." if able else f"{state.title}: carried by none."


def load(served: list[dict[str, Any]]) -> Explorable:
    """Which models carry a rate of requests within a limit on p90.

    `served` is that of the benchmark's record serving.json. Raises ValueError if it is empty.
    """
    if not served:
        raise ValueError("no model was measured; `python -m benchmarks serving` does it")
    measured = {each["name"]: [*each["loads"], *each["tried"]] for each in served}
    points = {
        name: [(point["asked"], point["p90"]) for point in some] for name, some in measured.items()
    }

    def look_up(rate: float, limit: float) -> Load:
        carries = {name: carried(some, limit) >= rate for name, some in measured.items()}
        title = f"{rate} requests a second, nine of ten within {limit} ms"
        return Load(title, points, carries, rate, limit)

    return Explorable(
        "load",
        (
            Control("Requests a second", "How many requests arrive.", named(RATES), 500),
            Control("Limit for p90", "What nine of ten answers may take.", LIMITS, 50),
        ),
        look_up,
        draw,
        say,
        ((5, 10), (500, 50), (700, 100)),
        "p90 of the answers by the rate of requests, server and client on two cores. The black "
        "dotted lines are the rate and the limit in the title. Dark lines belong to the models "
        "that keep within the limit at this rate or a higher one. Models that carry 50 a second "
        "were not measured at lower rates.",
    )
