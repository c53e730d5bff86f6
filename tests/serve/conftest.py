"""Each kind of model is exported once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cprec_lib import SequentialRecommender
from tests.serve.exported import export

Exported = Callable[[str], tuple[Path, SequentialRecommender]]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The folder and the torch model of a name in `CONFIGS`."""

    @cache
    def make(name: str) -> tuple[Path, SequentialRecommender]:
        folder = tmp_path_factory.mktemp("exported")
        return folder, export(name, folder)

    return make
