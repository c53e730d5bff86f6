"""Distillation: a small model also learns from the probabilities of the uncompressed one.

    loss = (1 - a) (-log p(next item)) - a sum over items i of t(i) log p(i)

with p the probabilities of the model, t those of its teacher, and the mean over all positions.
Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, without their
temperature: a softmax in two levels has no logits of all items that a temperature could divide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cprec_lib.checks import check_share
from cprec_lib.model.recommender import SequentialRecommender

CELLS = 2**22
"""Probabilities, positions times items, that are held at once."""


@contextmanager
def learning_from(
    teacher: SequentialRecommender | None, model: SequentialRecommender, share: float
) -> Iterator[None]:
    """Within it, `fit` trains the model with the distilled loss; `share` is a above.

    Without a teacher nothing changes. Raises ValueError for a share that is not in 0..1, and for a
    teacher with other items.
    """
    check_share("distillation", share)
    if teacher is None:
        yield
        return
    if teacher.config.n_items != model.config.n_items:
        raise ValueError(
            f"the teacher knows {teacher.config.n_items} items, the model {model.config.n_items}"
        )
    teacher.eval()
    vars(model)["loss"] = partial(distilled_loss, model, teacher, share)  # in place of the method
    try:
        yield
    finally:
        del vars(model)["loss"]


def distilled_loss(
    model: SequentialRecommender,
    teacher: SequentialRecommender,
    share: float,
    ids: Tensor,
    sizes: Sequence[int] | None = None,
) -> Tensor:
    """The loss above (nats) of windows ids [B, L + 1]; see `SequentialRecommender.loss`."""
    inputs, targets = ids[:, :-1], ids[:, 1:]
    predicted = (inputs > 0) & (targets > 0)
    hidden = model(inputs)[predicted]
    with torch.no_grad():
        taught = teacher(inputs)[predicted]
    rows = max(1, CELLS // model.config.n_items)
    # A chunk's probabilities are computed again in the backward pass instead of being kept.
    soft = [
        checkpoint(_cross_entropy, model, teacher, *pair, use_reentrant=False)
        for pair in zip(hidden.split(rows), taught.split(rows), strict=True)
    ]
    hard = model.softmax.mean_nll(hidden, targets[predicted], sizes)
    return (1 - share) * hard + share * torch.stack(soft).sum() / len(hidden)


def _cross_entropy(
    model: SequentialRecommender, teacher: SequentialRecommender, hidden: Tensor, taught: Tensor
) -> Tensor:
    """Minus the sum over rows and items of t log p."""
    with torch.no_grad():
        wanted = teacher.softmax.log_prob(taught).exp()
    return -(wanted * model.softmax.log_prob(hidden)).sum()
