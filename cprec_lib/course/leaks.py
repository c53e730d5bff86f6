"""A leak made on purpose, for notebook 04: a test part that is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from cprec_lib.data.sequences import SequenceData


def count_test_part(data: SequenceData) -> SequenceData:
    """The same data, but the training part has each test item too, and the item before it.

    A leak on purpose. Whoever counts items or pairs of neighbours then counts the answers.
    """
    pairs = torch.stack([data.test.contexts[:, -1], data.test.targets], 1)
    counts = data.catalogue.counts + np.bincount(data.test.targets - 1, minlength=data.n_items)
    return replace(
        data,
        train=torch.cat([data.train, F.pad(pairs, (data.max_len - 1, 0))]),
        catalogue=replace(data.catalogue, counts=counts),
    )
