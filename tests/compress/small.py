"""What the tests of the compressors share: small models, and a reference that uses numpy alone."""

from pathlib import Path

import numpy as np
import torch

from cprec_lib import (
    ModelConfig,
    SequentialRecommender,
    count_parameters,
    cprec,
    gru4rec,
    nextitnet,
    sasrec,
)
from cprec_lib.compress.compressor import compress_with
from cprec_lib.compress.quantisation import RoundedTable, Rounding
from cprec_lib.compress.runs import stored_bytes

N_ITEMS = 60
CONFIGS: dict[str, ModelConfig] = {
    "full": nextitnet(N_ITEMS, 16, dilations=(1, 2)),
    "blocks": cprec(N_ITEMS, 16, (6, 20), dilations=(1, 2)),
    "flat blocks": cprec(N_ITEMS, 16, (6, 20), dilations=(1, 2), tree=False),
    "attention": sasrec(N_ITEMS, 16, heads=2, max_positions=9),
    "gru": gru4rec(N_ITEMS, 16),
}


def contexts(users: int = 5, length: int = 8) -> torch.Tensor:
    """Left-padded contexts [users, length]."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1, N_ITEMS + 1, (users, length), generator=draw)
    starts = torch.arange(users).unsqueeze(1) % length
    return ids * (torch.arange(length) >= starts)


def as_numpy(table: RoundedTable, bits: int, columns: int) -> np.ndarray:
    """The values of a rounded table, from its bytes."""
    codes, scales = table.codes.numpy(), table.scales.float().numpy()
    if bits == 4:
        halves = [(codes.astype(int) % 16) - 8, (codes.astype(int) // 16) - 8]
        codes = np.concatenate(halves, axis=1)[:, :columns]
    group = columns // scales.shape[1]
    return codes * np.repeat(scales, group, axis=1)


def parameters(model: SequentialRecommender) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def saved_and_loaded(
    config: ModelConfig, rounding: Rounding | None, folder: Path
) -> tuple[SequentialRecommender, SequentialRecommender]:
    """A model, perhaps rounded, and what comes back from its file.

    The file has the bytes of the closed form, and both give the same scores.
    """
    model = SequentialRecommender(config, 3).eval()
    if rounding:
        model = compress_with(model, rounding)
    model.save(folder)
    assert count_parameters(model.config).bytes == stored_bytes(folder / "model.safetensors")
    loaded = SequentialRecommender.load(folder).eval()
    assert torch.equal(loaded.scores(contexts()), model.scores(contexts()))
    return model, loaded
