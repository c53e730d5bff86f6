"""The explorables, each made once: some measure a table first."""

import pytest

from cprec_lib.course.explore.explorable import Explorable
from tests.course.explore.explorables import EXPLORABLES


@pytest.fixture(scope="session")
def made() -> dict[str, Explorable]:
    """Each explorable by name."""
    return {name: make() for name, make in EXPLORABLES.items()}


@pytest.fixture(params=EXPLORABLES)
def one(request, made) -> Explorable:
    """Each explorable in turn."""
    return made[request.param]
