"""The whole model: embedding + middle + softmax, its configuration and its presets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from cprec_lib.checks import whole_number, whole_numbers
from cprec_lib.files import make_folder, save_tensors, write_text
from cprec_lib.model.embedding import BlockEmbedding, FullEmbedding
from cprec_lib.model.middle import GRU, CausalConvolution, DilatedCNN, SelfAttention, check_heads
from cprec_lib.model.partition import (
    BlockPartition,
    cutoffs_from_shares,
    decaying_widths,
)
from cprec_lib.model.sharing import sharing_table
from cprec_lib.model.softmax import BlockSoftmax, Bound, FullSoftmax, LowRankSoftmax, rows_where

MIDDLES = ("cnn", "gru", "attention")
"""Names of the fillings: `DilatedCNN`, `GRU` and `SelfAttention`."""

INITIAL_WEIGHTS = ("scaled", "authors")
"""How a model's weights are drawn before training: see `ModelConfig`."""

_WHOLE = ("n_items", "width", "kernel_size", "layers", "heads", "max_positions")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that fixes a model's architecture; checks itself and says what is wrong.

    `middle` is one of `MIDDLES`. Of a "cnn", `dilations` has one entry l a residual block, whose
    two convolutions of `kernel_size` taps have the dilations l and 2 l, and `sharing` is one of
    `SHARING`. The others have `layers`; "attention" has `heads`, and sees the last `max_positions`
    items. What a filling does not have is not looked at. `dropout` is the share of units dropped
    from what a block adds, or from what a layer puts out; `input_dropout` that of the components
    dropped from each item's vector before the filling sees it (attention drops from it as well).

    `block_input` and `block_softmax` choose the decomposed embedding and softmax, which both cut
    the catalogue at `cutoffs` (item counts). `tree=False` replaces the two-level softmax by flat
    low-rank logits. Tail widths fall by `factor` unless `widths`, one a block, are given.

    `initial_weights` is one of `INITIAL_WEIGHTS`. "scaled" gives the vectors of all items, head or
    tail, components of variance 1/d, which makes the narrow tail tables start with variance 1.
    "authors" is the rule of the CpRec authors' code: see `draw_as_the_authors`.

    Raises ValueError for a number below its range or not whole, cutoffs or widths that make no
    `BlockPartition`, decomposition without cutoffs, an unknown middle or sharing scheme, sharing in
    a middle that has no convolutions, and heads that do not divide the width.
    """

    n_items: int
    width: int = 64
    dilations: tuple[int, ...] = (1, 4, 1, 4)
    kernel_size: int = 3
    cutoffs: tuple[int, ...] = ()
    factor: float = 4
    block_input: bool = False
    block_softmax: bool = False
    sharing: str = "none"
    widths: tuple[int, ...] | None = None
    tree: bool = True
    dropout: float = 0.0
    middle: str = "cnn"
    layers: int = 1
    heads: int = 1
    max_positions: int = 50
    input_dropout: float = 0.0
    initial_weights: str = "scaled"

    def __post_init__(self) -> None:
        self._normalise()
        for name in _WHOLE:
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} {getattr(self, name)} is below 1; give a whole number of at least 1"
                )
        if any(dilation < 1 for dilation in self.dilations):
            raise ValueError(f"dilations {self.dilations}: each must be at least 1")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is not in [0, 1)")
        if self.widths is not None and self.widths[:1] != (self.width,):
            raise ValueError(f"widths {self.widths} must start with the model's width {self.width}")
        self._check_middle()
        if self.decomposed or self.cutoffs:
            self.partition  # noqa: B018 - building it checks cutoffs and widths

        if self.initial_weights not in INITIAL_WEIGHTS:
            raise ValueError(
                f"unknown initial weights {self.initial_weights!r}; choose one of "
                f"{', '.join(INITIAL_WEIGHTS)}"
            )

    def _check_middle(self) -> None:
        if self.middle not in MIDDLES:
            raise ValueError(f"unknown middle {self.middle!r}; choose one of {', '.join(MIDDLES)}")
        sharing_table(self.sharing, len(self.dilations))
        if self.middle != "cnn" and self.sharing != "none":
            raise ValueError(
                f"sharing {self.sharing!r} is for convolutions, and the middle {self.middle!r} has "
                "none; leave sharing at 'none', or choose the middle 'cnn'"
            )
        if self.middle == "attention":
            check_heads(self.width, self.heads)

    def _normalise(self) -> None:
        """Make the numbers plain ints and the sequences tuples, as JSON and equality need them."""
        for name in _WHOLE:
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        for name in ("dilations", "cutoffs", "widths"):
            if name != "widths" or self.widths is not None:
                object.__setattr__(self, name, whole_numbers(name, getattr(self, name)))
        for name in ("block_input", "block_softmax", "tree"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} {getattr(self, name)!r} is neither True nor False")

    @property
    def decomposed(self) -> bool:
        """Whether the embedding or the softmax works in blocks."""
        return self.block_input or self.block_softmax

    @property
    def partition(self) -> BlockPartition:
        """The blocks of the embedding and the softmax. Raises ValueError without cutoffs."""
        n_blocks = len(self.cutoffs) + 1
        widths = self.widths or decaying_widths(self.width, n_blocks, self.factor)
        return BlockPartition(self.n_items, self.cutoffs, widths)


def nextitnet(n_items: int, width: int = 64, **options: Any) -> ModelConfig:
    """The uncompressed baseline NextItNet; `options` are further fields of `ModelConfig`.

    Yuan et al., "A Simple Convolutional Generative Network for Next Item Recommendation", WSDM
    2019. Raises ValueError as `ModelConfig` does, TypeError for an unknown field.
    """
    return ModelConfig(n_items, width, **options)


def cprec(
    n_items: int,
    width: int = 64,
    cutoffs: Sequence[float] = (0.05, 0.2),
    sharing: str = "adjacent-block",
    **options: Any,
) -> ModelConfig:
    """CpRec: input and softmax decomposed, layers shared. `options`: fields of `ModelConfig`.

    `cutoffs` are item counts, or cumulative shares of the catalogue if all lie below 1. Sun et
    al., "A Generic Network Compression Framework for Sequential Recommender Systems", SIGIR 2020.
    Raises ValueError as `resolve_cutoffs` and `ModelConfig` do, TypeError for an unknown field.
    """
    counts = resolve_cutoffs(n_items, cutoffs)
    options = {"block_input": True, "block_softmax": True, **options}
    return ModelConfig(n_items, width, cutoffs=counts, sharing=sharing, **options)


def gru4rec(
    n_items: int, width: int = 64, cutoffs: Sequence[float] = (), **options: Any
) -> ModelConfig:
    """GRU4Rec: a recurrent filling; with `block_input` and `block_softmax` in CpRec's bread.

    Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, who
    rank against a few sampled items; here every model has the same loss. `cutoffs` and `options` as
    in `cprec`. Raises ValueError as `resolve_cutoffs` and `ModelConfig` do, TypeError for an
    unknown field.
    """
    counts = resolve_cutoffs(n_items, cutoffs)
    return ModelConfig(n_items, width, cutoffs=counts, **{"middle": "gru", **options})


def sasrec(
    n_items: int, width: int = 64, cutoffs: Sequence[float] = (), **options: Any
) -> ModelConfig:
    """SASRec: a filling of self-attention; with `block_input` and `block_softmax` in CpRec's bread.

    Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, who train against one
    sampled item and score by the table of the input; here every model has the same loss and a
    softmax of its own. `cutoffs` and `options` as in `cprec`; `max_positions` must not be below the
    windows' length. Raises ValueError as `resolve_cutoffs` and `ModelConfig` do, TypeError for an
    unknown field.
    """
    counts = resolve_cutoffs(n_items, cutoffs)
    options = {"middle": "attention", "layers": 2, **options}
    return ModelConfig(n_items, width, cutoffs=counts, **options)


def resolve_cutoffs(n_items: int, cutoffs: Sequence[float]) -> tuple[int, ...]:
    """Cutoffs as item counts, given as counts or, if all lie in (0, 1), as shares.

    Raises ValueError if some are shares and some counts.
    """
    if len(cutoffs) > 0 and all(0 < cutoff < 1 for cutoff in cutoffs):
        return cutoffs_from_shares(n_items, cutoffs)
    if any(cutoff % 1 != 0 for cutoff in cutoffs):
        raise ValueError(
            f"cutoffs {tuple(cutoffs)} mix shares and counts; give either shares below 1 "
            "such as 0.05, 0.2 or whole item counts such as 100, 400"
        )
    return tuple(int(cutoff) for cutoff in cutoffs)


class SequentialRecommender(nn.Module):
    """Next-item model: embedding, causal middle, softmax over the catalogue (items 1..N)."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        """Build the model; `seed` fixes its initial weights, and torch's generator is not moved."""
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would also reseed the GPUs' generators, for good.
            torch.default_generator.manual_seed(seed)
            self._build(config)

    def _build(self, config: ModelConfig) -> None:
        self.embedding = (
            BlockEmbedding(config.partition)
            if config.block_input
            else FullEmbedding(config.n_items, config.width)
        )
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.middle = _build_middle(config)
        self.softmax = _build_softmax(config)
        if config.initial_weights == "authors":
            draw_as_the_authors(self)

    def forward(self, ids: Tensor) -> Tensor:
        """Hidden vectors [B, L, d] of ids [B, L]; position t has seen the ids up to t.

        Raises ValueError if the ids are no 64-bit integers or, on a CPU, outside 0..N, and if L is
        more than the positions that an attention knows.
        """
        hidden: Tensor = self.middle(self.input_dropout(self.embedding(ids)), ids > 0)
        return hidden

    def loss(self, ids: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Mean negative log-likelihood (nats) of each next item in windows ids [B, L + 1].

        Padding (0) is neither a target nor a context to predict from. `sizes`, the sums over the
        windows of `count_targets`, spare a GPU from being asked for them. Raises ValueError as
        `forward` does, and if no window holds two items in a row.
        """
        inputs, targets = ids[:, :-1], ids[:, 1:]
        predicted = ((inputs > 0) & (targets > 0)).flatten()
        rows = rows_where(predicted, None if sizes is None else sum(sizes))
        hidden = self(inputs).flatten(0, 1)[rows]
        if len(hidden) == 0:
            raise ValueError(
                "no window holds two items in a row, so there is nothing to predict; give windows "
                "[B, L + 1] with two items in a row"
            )
        mean: Tensor = self.softmax.mean_nll(hidden, targets.flatten()[rows], sizes)
        return mean

    def count_targets(self, windows: Tensor) -> Tensor:
        """How many targets each window [W, L + 1] has in each block of the softmax: [W, n].

        A softmax without a tree is one block, n = 1.
        """
        tails = self.config.cutoffs if isinstance(self.softmax, BlockSoftmax) else ()
        counts = []
        for some in windows.split(2**14):  # masks of all windows at once could fill the memory
            targets = some[:, 1:].masked_fill(some[:, :-1] == 0, 0)
            up_to = [(targets <= end).sum(1) for end in (0, *tails, self.config.n_items)]
            counts.append(torch.stack(up_to, 1).diff(dim=1))
        return torch.cat(counts)

    def last_hidden(self, contexts: Tensor) -> Tensor:
        """Hidden vectors [U, d] after the last item of left-padded contexts [U, L].

        Attention sees the last `max_positions` of them. Raises ValueError for ids as `forward`.
        """
        if self.config.middle == "attention":
            contexts = contexts[:, -self.config.max_positions :]
        hidden: Tensor = self(contexts)[:, -1]
        return hidden

    @torch.no_grad()
    def scores(self, contexts: Tensor) -> Tensor:
        """Log-probabilities [U, N] of the item that follows left-padded contexts [U, L].

        Raises ValueError as `forward` does.
        """
        log_prob: Tensor = self.softmax.log_prob(self.last_hidden(contexts))
        return log_prob

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
        history is used, also if it is longer than the windows of the training (`max_len`); only
        attention is limited to its last `max_positions` items. `exclude_seen` leaves out the items
        of the history itself. `bound`, see `BlockSoftmax.top_k`, saves time on a large catalogue.
        The model's training mode is put back afterwards. Raises ValueError for an empty history,
        an id outside 1..N, or if fewer than k items remain.
        """
        contexts = self._pad(histories)
        training = self.training
        self.eval()
        try:
            top: tuple[Tensor, Tensor] = self.softmax.top_k(
                self.last_hidden(contexts), k, contexts if exclude_seen else None, bound
            )
        finally:
            self.train(training)
        return top

    def _pad(self, histories: Sequence[Sequence[int]]) -> Tensor:
        if len(histories) == 0:
            raise ValueError("no histories: give a list of lists of item ids")
        rows = [self._check_history(row, history) for row, history in enumerate(histories)]
        padded = pad_sequence(rows, batch_first=True, padding_side="left")
        return padded.to(next(self.parameters()).device)

    def _check_history(self, row: int, history: Sequence[int]) -> Tensor:
        ids = np.asarray(history)
        if ids.size == 0:
            raise ValueError(f"history {row} is empty; give at least one item")
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                f"history {row} is {history!r}; each history is a list of item ids such as [3, 1]"
            )
        wrong = ids[(ids < 1) | (ids > self.config.n_items)]
        if len(wrong):
            raise ValueError(
                f"history {row}: item id {wrong[0]} is outside 1..{self.config.n_items}"
            )
        return torch.from_numpy(ids.astype(np.int64))

    def save(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors into `folder`, each whole or not at all.

        Raises OSError if the folder cannot be made or written.
        """
        folder = make_folder(Path(folder))
        save_tensors(folder / "model.safetensors", dict(self.named_parameters()))
        write_text(folder / "config.json", json.dumps(asdict(self.config), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> SequentialRecommender:
        """Read a model that `save` wrote. Loading never executes code.

        Raises FileNotFoundError if a file is missing and ValueError if one is corrupt, cut short
        or belongs to another model.
        """
        folder = Path(folder)
        model = cls(_read_config(folder / "config.json"))
        copy_tensors(_read_tensors(folder / "model.safetensors"), model, folder)
        return model


def _build_middle(config: ModelConfig) -> DilatedCNN | GRU | SelfAttention:
    width, layers, dropout = config.width, config.layers, config.dropout
    if config.middle == "gru":
        return GRU(width, layers, dropout)
    if config.middle == "attention":
        return SelfAttention(width, layers, config.heads, config.max_positions, dropout)
    return DilatedCNN(width, config.dilations, config.kernel_size, config.sharing, dropout)


def _build_softmax(config: ModelConfig) -> FullSoftmax | BlockSoftmax | LowRankSoftmax:
    if not config.block_softmax:
        return FullSoftmax(config.width, config.n_items)
    return BlockSoftmax(config.partition) if config.tree else LowRankSoftmax(config.partition)


@torch.no_grad()
def draw_as_the_authors(model: nn.Module) -> None:
    """Draw the weights anew from the distributions of the CpRec authors' code.

    Block tables and projections, in the embedding and in the softmax: Glorot's uniform. The
    undivided table: U(-sqrt(1/N), sqrt(1/N)). The undivided softmax: N(0, 0.01^2), its bias 0.1.
    Convolutions: N(0, 0.02^2), cut off at two standard deviations. All else keeps what it has.
    """
    for module in model.modules():
        if isinstance(module, FullEmbedding):
            bound = module.n_items**-0.5
            nn.init.uniform_(module.weight, -bound, bound)
        elif isinstance(module, FullSoftmax):
            nn.init.normal_(module.output.weight, std=0.01)
            nn.init.constant_(module.output.bias, 0.1)
        elif isinstance(module, BlockEmbedding | BlockSoftmax | LowRankSoftmax):
            for weight in module.parameters():
                nn.init.xavier_uniform_(weight)
        elif isinstance(module, CausalConvolution):
            nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)


def _read_config(path: Path) -> ModelConfig:
    _check_file(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        unknown = set(values) - {field.name for field in fields(ModelConfig)}
        if unknown:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        return ModelConfig(**values)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} does not describe a model of this library: {error}") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    _check_file(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is corrupt, cut short or no safetensors file ({error}); save the model again"
        ) from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; a saved model is a folder with config.json and model.safetensors"
        )


def copy_tensors(tensors: dict[str, Tensor], model: nn.Module, source: Path) -> None:
    """Copy named tensors into the model's parameters, all of them or, on an error, none.

    Raises ValueError as `check_tensors` does.
    """
    check_tensors(tensors, model, source)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])


def check_tensors(tensors: dict[str, Tensor], model: nn.Module, source: Path) -> None:
    """Raise ValueError naming `source` if names or shapes are not exactly the model's."""
    parameters = dict(model.named_parameters())
    way_out = "load it with its own config.json"
    for name in sorted(set(tensors) ^ set(parameters)):
        lacking = "its weights lack" if name in parameters else "the model lacks"
        raise ValueError(f"{source} belongs to another model: {lacking} {name}; {way_out}")
    for name, parameter in parameters.items():
        if tensors[name].shape != parameter.shape:
            raise ValueError(
                f"{source} belongs to another model: {name} has shape "
                f"{tuple(tensors[name].shape)}, the model's is {tuple(parameter.shape)}; {way_out}"
            )
