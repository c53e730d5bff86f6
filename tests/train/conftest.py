"""An uninterrupted training of the small model."""

import pytest
from torch import Tensor

from cprec_lib import History, SequenceData, fit
from tests.train.small import SHORT, new_model, weights


@pytest.fixture
def whole(data: SequenceData) -> tuple[History, dict[str, Tensor]]:
    """History and weights of an uninterrupted run."""
    model = new_model()
    return fit(model, data, SHORT, progress=False), weights(model)
