"""Made-up interactions whose popularity curve and next-item distribution are known.

Items have popularity p(x) proportional to rank^-zipf and belong to groups. The item x after item y
is drawn from

    P(x | y) = follow * p(x) [x in the group of y] / p(group of y) + (1 - follow) * p(x) .

p is the stationary distribution of this Markov chain, so the item at every position of a sequence
follows the same Zipf law. Since P is known, so is the best score that a model can reach.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

PREFIX = "synthetic:"


@dataclass(frozen=True)
class Synthetic:
    """A log of `users` sequences of `length` items out of `items`.

    `zipf` is the exponent of the popularity curve, 0 for equally popular items. `groups` is the
    number of groups, and `follow` the share of steps drawn from the group of the last item: how
    much a history tells. Raises ValueError for a number out of range.
    """

    items: int = 1000
    users: int = 1000
    zipf: float = 1.0
    groups: int = 20
    follow: float = 0.8
    length: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("items", "users", "groups", "length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is below 1")
        if self.groups > self.items:
            raise ValueError(f"{self.groups} groups are more than {self.items} items")
        if not 0 <= self.zipf < 10:
            raise ValueError(f"zipf {self.zipf} is outside 0..10; logs have 0.5 to 1.5")
        if not 0 <= self.follow <= 1:
            raise ValueError(f"follow {self.follow} is not a share between 0 and 1")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is below 0")

    @classmethod
    def parse(cls, name: str) -> Synthetic:
        """Read a name such as "synthetic:items=5000,zipf=1.1"; fields left out take their defaults.

        Raises ValueError for an unknown field and for a value that is not a number.
        """
        known = {field.name: field.type for field in fields(cls)}
        given: dict[str, Any] = {}
        for part in filter(None, name.removeprefix(PREFIX).split(",")):
            key, _, text = part.partition("=")
            if key not in known:
                raise ValueError(f"unknown field {key!r} in {name!r}; choose from {[*known]}")
            try:
                given[key] = int(text) if known[key] == "int" else float(text)
            except ValueError as error:
                raise ValueError(f"{part!r} in {name!r} does not end in a number") from error
        return cls(**given)

    def __str__(self) -> str:
        return PREFIX + ",".join(f"{key}={value}" for key, value in asdict(self).items())

    @property
    def popularity(self) -> np.ndarray:
        """p(x) of the items 1..N [N], falling."""
        weights = np.arange(1, self.items + 1, dtype=float) ** -self.zipf
        popularity: np.ndarray = weights / weights.sum()
        return popularity

    @property
    def group(self) -> np.ndarray:
        """The group of each item [N], dealt in turn, so that each has head and tail items."""
        return np.arange(self.items) % self.groups

    def interactions(self) -> pd.DataFrame:
        """The log: columns user, item (1 has the highest p), timestamp."""
        draw = np.random.default_rng(self.seed)
        by_group = np.argsort(self.group, kind="stable")
        reached = np.append(0.0, self.popularity[by_group].cumsum())
        ends = np.append(0, np.bincount(self.group).cumsum())
        log = np.empty((self.users, self.length), dtype=np.int64)
        low, high = np.zeros(self.users), np.full(self.users, reached[-1])
        for step in range(self.length):
            if step:
                stay = draw.random(self.users) < self.follow
                group = self.group[log[:, step - 1]]
                low = np.where(stay, reached[ends[group]], 0.0)
                high = np.where(stay, reached[ends[group + 1]], reached[-1])
            uniform = low + (high - low) * draw.random(self.users)
            place = np.searchsorted(reached, uniform, side="right") - 1
            log[:, step] = by_group[np.minimum(place, self.items - 1)]  # where rounding reached 1
        user = np.repeat(np.arange(1, self.users + 1), self.length)
        time = np.tile(np.arange(self.length), self.users)
        return pd.DataFrame({"user": user, "item": log.ravel() + 1, "timestamp": time})

    def next_item(self, item: int) -> np.ndarray:
        """P(x | item) of the items 1..N [N]. Raises ValueError for an item outside 1..N."""
        if not 1 <= item <= self.items:
            raise ValueError(f"item {item} is outside 1..{self.items}")
        inside = self.group == self.group[item - 1]
        p = self.popularity
        probability: np.ndarray = self.follow * p * inside / p[inside].sum() + (1 - self.follow) * p
        return probability

    def best(self, k: int = 10) -> dict[str, float]:
        """The highest expected hit rate, MRR and NDCG at k: those of a model that knows P.

        They are means over the group of the last item, weighted by the popularity of the groups.
        """
        gains = {
            "hr": np.ones(k),
            "mrr": 1 / np.arange(1, k + 1),
            "ndcg": 1 / np.log2(np.arange(2, k + 2)),
        }
        weight = np.bincount(self.group, self.popularity)
        best = dict.fromkeys(gains, 0.0)
        for group, share in enumerate(weight):
            top = np.sort(self.next_item(group + 1))[::-1][:k]
            for name, gain in gains.items():
                best[name] += float(share * (top @ gain[: len(top)]))
        return {f"{name}@{k}": value for name, value in best.items()}
