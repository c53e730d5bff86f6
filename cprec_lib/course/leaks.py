"""Two leaks of notebook 04: ties that are sorted by item, and a test part that is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from cprec_lib.data.sequences import SequenceData


def held_out_items(versions: Mapping[str, SequenceData]) -> pd.DataFrame:
    """What versions of one log hold out for the test: one row per version.

    The columns are the share of users whose test item is not that of the first version, the share
    of test items with a higher original id than the item before, and the median of the test items'
    counts in the training part. All versions must have the same test users.
    """
    rows, first = {}, None
    for name, data in versions.items():
        targets = np.array(data.catalogue.originals(data.test.targets))
        before = np.array(data.catalogue.originals(data.test.contexts[:, -1]))
        first = targets if first is None else first
        rows[name] = {
            "other test item": (targets != first).mean(),
            "id above the item before": (targets > before).mean(),
            "median count": np.median(data.catalogue.counts[data.test.targets - 1]),
        }
    return pd.DataFrame(rows).T


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
