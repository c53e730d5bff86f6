"""The NLL of each user's next item in two parts, for notebook 02: its block, and the item in it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from cprec_lib.data.sequences import SequenceData
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.evaluation import evaluate


def per_user(
    models: Sequence[SequentialRecommender], data: SequenceData, cutoffs: tuple[int, ...]
) -> pd.DataFrame:
    """One row per test user, means over the models: NLL, its two parts, and NDCG@10.

    -ln p(x) = -ln p(block) - ln p(x | block), with p(block) the sum over the block's items. The
    models have to be in evaluation mode.
    """
    tables = [_parts(model, data, cutoffs) for model in models]
    return pd.concat(tables).groupby(level=0).mean()


@torch.no_grad()
def _parts(
    model: SequentialRecommender, data: SequenceData, cutoffs: tuple[int, ...]
) -> pd.DataFrame:
    targets = data.test.targets
    log_prob = model.softmax.log_prob(model.last_hidden(data.test.contexts)).double()
    blocks = [part.logsumexp(1) for part in log_prob.tensor_split(cutoffs, 1)]
    block = torch.bucketize(targets, torch.tensor(cutoffs))
    of_block = torch.stack(blocks, 1).gather(1, block[:, None])[:, 0]
    of_item = log_prob.gather(1, targets[:, None] - 1)[:, 0]
    return pd.DataFrame(
        {
            "NLL": -of_item,
            "which block?": -of_block,
            "which item of the block?": of_block - of_item,
            "NDCG@10": evaluate(model, data).values("ndcg@10"),
        }
    )
