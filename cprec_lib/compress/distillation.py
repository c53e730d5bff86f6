"""Distillation: a small model also learns from the probabilities of the uncompressed one.

    loss = (1 - a) (-log p(next item)) - a sum over items i of t(i) log p(i)

with p the probabilities of the model, t those of its teacher, and the mean over all positions.
Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, without their
temperature: a softmax in two levels has no logits of all items that a temperature could divide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cprec_lib.checks import check_share
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.softmax import Softmax

CELLS = 2**22
"""Probabilities, positions times items, that are held at once."""


@contextmanager
def learning_from(
    teacher: SequentialRecommender | None, model: SequentialRecommender, share: float
) -> Iterator[None]:
    """Within it, `fit` trains the model with the distilled loss; `share` is a above.

    Without a teacher nothing changes. Raises ValueError for a share that is not in [0, 1), and for
    a teacher with other items.
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
    forward: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The loss above (nats) of windows ids [B, L + 1]; see `SequentialRecommender.loss`.

    It computes the probabilities of all items, so it needs no `sizes`.
    """
    inputs, targets = ids[:, :-1], ids[:, 1:]
    predicted = (inputs > 0) & (targets > 0)
    with torch.no_grad():
        taught = teacher(inputs)[predicted]
    rows = (forward or model)(inputs)[predicted], taught, targets[predicted]
    at_once = max(1, CELLS // model.config.n_items)
    chunks = [*zip(*(each.split(at_once) for each in rows), strict=True)]
    given = model.softmax, teacher.softmax, share
    if len(chunks) == 1:
        total = _cross_entropy(*given, *chunks[0])
    else:  # the backward pass computes a chunk's probabilities again instead of keeping them
        parts = [checkpoint(_cross_entropy, *given, *c, use_reentrant=False) for c in chunks]
        total = torch.stack(parts).sum()
    return total / len(taught)


def _cross_entropy(
    softmax: Softmax,
    teaching: Softmax,
    share: float,
    hidden: Tensor,
    taught: Tensor,
    targets: Tensor,
) -> Tensor:
    """Minus the sum over rows and items of log p times what it should be."""
    with torch.no_grad():
        wanted = share * teaching.log_prob(taught).exp()
        wanted[torch.arange(len(targets), device=targets.device), targets - 1] += 1 - share
    return -(wanted * softmax.log_prob(hidden)).sum()
