"""The whole model: embedding, middle layers and softmax."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from cprec_lib.checks import check_histories
from cprec_lib.files import make_folder, save_tensors, write_text
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.embedding import BlockEmbedding, FullEmbedding
from cprec_lib.model.search import Bound
from cprec_lib.model.softmax import BlockSoftmax, FullSoftmax, LowRankSoftmax, Softmax, rows_where
from cprec_lib.model.weights import copy_tensors, draw_as_the_authors, read_config, read_tensors


class SequentialRecommender(nn.Module):
    """Next-item model: embedding, causal middle, softmax over the catalogue (items 1..N)."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        """`seed` draws the initial weights; torch's own generators keep their state."""
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would also reseed the GPUs' generators, which are not restored.
            torch.default_generator.manual_seed(seed)
            self.embedding = _embedding(config)
            self.input_dropout = nn.Dropout(config.input_dropout)
            self.middle = config.middle_layers.build()
            self.softmax = _softmax(config)
            if config.initial_weights == "authors":
                draw_as_the_authors(self)
            for compressor in config.compressors:
                compressor.apply(self)

    def forward(self, ids: Tensor) -> Tensor:
        """Hidden vectors [B, L, d] of ids [B, L]; position t depends on the ids up to t.

        Raises ValueError as `check_ids` does, and if L exceeds the positions of an attention.
        """
        hidden: Tensor = self.middle(self.input_dropout(self.embedding(ids)), ids > 0)
        return hidden

    def loss(
        self,
        ids: Tensor,
        sizes: Sequence[int] | None = None,
        forward: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Mean negative log-likelihood (nats) of each next item in windows ids [B, L + 1].

        Padding (0) is neither a target nor a context. `sizes` are the sums over the windows of
        `softmax.count_targets`; with them, no step waits for a GPU to count. `forward`, perhaps
        compiled, replaces the model's own. Raises ValueError as `forward` does, and if no window
        holds two items in a row.
        """
        inputs, targets = ids[:, :-1], ids[:, 1:]
        predicted = ((inputs > 0) & (targets > 0)).flatten()
        rows = rows_where(predicted, None if sizes is None else sum(sizes))
        hidden = (forward or self)(inputs).flatten(0, 1)[rows]
        if len(hidden) == 0:
            raise ValueError(
                "no window holds two items in a row, so there is nothing to predict; give windows "
                "[B, L + 1] with two items in a row"
            )
        return self.softmax.mean_nll(hidden, targets.flatten()[rows], sizes)

    def last_hidden(self, contexts: Tensor) -> Tensor:
        """Hidden vectors [U, d] after the last item of left-padded contexts [U, L].

        Attention sees the last `max_positions` of them. Raises ValueError as `check_ids` does.
        """
        if self.config.max_positions is not None:
            contexts = contexts[:, -self.config.max_positions :]
        hidden: Tensor = self(contexts)[:, -1]
        return hidden

    @torch.no_grad()
    def scores(self, contexts: Tensor) -> Tensor:
        """Log-probabilities [U, N] after left-padded contexts [U, L]. Errors as `last_hidden`."""
        return self.softmax.log_prob(self.last_hidden(contexts))

    @torch.no_grad()
    def recommend(
        self,
        histories: Sequence[Sequence[int]],
        k: int,
        exclude_seen: bool = False,
        bound: Bound | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The k most probable next items after each history (item ids, oldest first).

        Returns (log-probabilities [U, k], items [U, k]), exact over the whole catalogue. The whole
        history counts, even where it is longer than the windows of the training; only attention is
        limited to its last `max_positions` items. `exclude_seen` omits the items of the history.
        `bound`, a `TailBounds`, saves time on a large catalogue. Dropout is off. Raises ValueError
        for an empty history, an id outside 1..N, and as `Softmax.top_k` does.
        """
        contexts, training = self._pad(histories), self.training
        exclude = contexts if exclude_seen else None
        self.eval()
        try:
            return self.softmax.top_k(self.last_hidden(contexts), k, exclude, bound)
        finally:
            self.train(training)

    def _pad(self, histories: Sequence[Sequence[int]]) -> Tensor:
        rows = [torch.from_numpy(ids) for ids in check_histories(histories, self.config.n_items)]
        device = next(self.parameters()).device
        return pad_sequence(rows, batch_first=True, padding_side="left").to(device)

    def save(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors into `folder`, each whole or not at all.

        Raises OSError if the folder cannot be made or written.
        """
        folder = make_folder(Path(folder))
        save_tensors(folder / "model.safetensors", dict(self.named_parameters()))
        write_text(folder / "config.json", json.dumps(asdict(self.config), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> SequentialRecommender:
        """Read a model that `save` wrote, without executing code.

        Raises FileNotFoundError for a missing file, ValueError for a corrupt or foreign one.
        """
        folder = Path(folder)
        config = read_config(folder / "config.json")
        tensors = read_tensors(folder / "model.safetensors")
        found = sum(tensor.numel() for tensor in tensors.values())
        # Too large to build, perhaps. A compressor may put two parameters into a number.
        if (expected := count_parameters(config).total) > found * (1 + bool(config.compressors)):
            raise ValueError(
                f"{folder} belongs to another model: its weights are {found:,} numbers, the "
                f"model's are {expected:,}; load it with its own config.json"
            )
        model = cls(config)
        copy_tensors(tensors, model, folder)
        return model


def _embedding(config: ModelConfig) -> nn.Module:
    if config.block_input:
        return BlockEmbedding(config.partition)
    return FullEmbedding(config.n_items, config.width)


def _softmax(config: ModelConfig) -> Softmax:
    if not config.block_softmax:
        return FullSoftmax(config.width, config.n_items)
    return BlockSoftmax(config.partition) if config.tree else LowRankSoftmax(config.partition)
