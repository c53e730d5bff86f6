"""How a two-level softmax distributes each user's probability."""

from collections.abc import Mapping, Sequence
from textwrap import shorten

import numpy as np
import torch

from cprec_lib.course.explore.explorable import Control, Explorable, join, named
from cprec_lib.course.figures.decomposition import Flow, flow
from cprec_lib.model.partition import BlockPartition


def block_chances(chances: np.ndarray, partition: BlockPartition, k: int = 10) -> np.ndarray:
    """Probability [U, blocks, 2] of each block and of its k best items, from `chances` [U, N]."""
    pairs = []
    for start, end in partition.bounds:
        block = chances[:, start:end]
        best = np.partition(block, -min(k, end - start), axis=1)[:, -k:]
        pairs.append([block.sum(1), best.sum(1)])
    return np.array(pairs).transpose(2, 0, 1)


def say(state: Flow) -> str:
    """The state in words."""
    parts = [f"{name} {mass:.3f}" for name, (mass, _) in state.blocks.items()]
    came = list(state.blocks)[state.true_block]
    title = state.title.replace("\n", "; ")
    return f"{title}, in {came}. The root gives {join(parts)}."


def tree(
    log_prob: torch.Tensor,
    partition: BlockPartition,
    targets: torch.Tensor,
    last: Sequence[str],
    names: Mapping[int, str],
) -> Explorable:
    """How a two-level softmax distributes each user's probability, `log_prob` [U, N].

    `targets` [U] are the items that came next; `last` [U] are the titles of the items before them,
    and `names` are titles by id. Raises ValueError if there are no users or if the shapes do not
    fit.
    """
    n_users = len(targets)
    if not n_users == len(last) > 0 or log_prob.shape != (n_users, partition.n_items):
        raise ValueError(
            f"log_prob {[*log_prob.shape]} and {len(last)} last titles do not fit "
            f"{n_users} targets, one or more, and {partition.n_items} items"
        )
    chances = log_prob.detach().exp().numpy()
    by_block = block_chances(chances, partition).tolist()
    answers = targets.tolist()
    true_blocks = np.digitize(answers, [cutoff + 1 for cutoff in partition.cutoffs]).tolist()
    blocks = ["head", *(f"block {number}" for number in range(2, partition.n_blocks + 1))]

    def user_flow(user: int) -> Flow:
        answer = answers[user]
        films = last[user], names[answer]
        before, after = (shorten(film, 45, placeholder=" …") for film in films)
        chance = chances[user, answer - 1]
        title = f"User {user}, after {before}\nnext came {after}, with probability {chance:.1g}"
        return Flow(title, dict(zip(blocks, by_block[user], strict=True)), true_blocks[user])

    says = "The user whose prediction is shown, in the order of the test part."
    return Explorable(
        "tree",
        (Control("User", says, named(range(n_users)), 0),),
        user_flow,
        flow,
        say,
        ((0,), (n_users // 2,), (n_users - 1,)),
        "How the two-level softmax divides the probability: the root among the blocks, and each "
        "block among its items. Plain: its ten most probable items. Hatched: all others.",
    )
