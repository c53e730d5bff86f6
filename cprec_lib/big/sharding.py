"""Parameters, gradients and optimiser split over processes by torch's FSDP2, row by row.

Rajbhandari et al., "ZeRO" (SC 2020), stage 3. Checkpoints go through torch.distributed.checkpoint,
as safetensors: each process writes its rows, and any number of processes can read them.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cprec_lib.files import file_hash, write_text
from cprec_lib.model.recommender import SequentialRecommender

RUN = "run.json"


def split(model: SequentialRecommender, count: int) -> SequentialRecommender:
    """A model like this one with its weights split over `count` processes; itself if that is 1.

    `model`, which lies whole in every process, gives up its weights until `join`. Embedding and
    softmax have a group each, so that no process holds more than one of them whole at once. Every
    process starts with the weights of the first. The loss must be called with `forward`, as
    `model.loss(..., forward=model.forward)`. Raises ValueError for a model with compressors.
    """
    if model.config.compressors:
        raise ValueError("a compressed model is not split by row; train it without shard (--shard)")
    if count == 1:
        return model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    from torch.distributed.tensor import distribute_tensor

    device = next(model.parameters()).device
    mesh = init_device_mesh(device.type, (count,))
    with torch.device("meta"):
        found = SequentialRecommender(model.config)
    for part in (found.embedding, found.softmax, found):
        fully_shard(part, mesh=mesh)
    for method in ("mean_nll", "log_prob"):
        register_fsdp_forward_method(found.softmax, method)
    register_fsdp_forward_method(found, "loss")
    found.to_empty(device=device)
    _copy(model, found, lambda of, to: distribute_tensor(of, to.device_mesh, to.placements))
    model.to("meta")
    return found


def join(split: SequentialRecommender, model: SequentialRecommender) -> None:
    """Give the weights of a model from `split` back to the whole one, in every process."""
    if split is not model:
        model.to_empty(device=next(split.parameters()).device)
        _copy(split, model, lambda own, _: own.full_tensor())


@torch.no_grad()
def _copy(source: nn.Module, target: nn.Module, convert: Callable[[Any, Any], Tensor]) -> None:
    for to, of in zip(target.parameters(), source.parameters(), strict=True):
        to.copy_(convert(of.detach(), to))
    for buffer, same in zip(target.buffers(), source.buffers(), strict=True):
        buffer.copy_(same)


def is_split(module: nn.Module) -> bool:
    """Whether the module has parameters from `split`."""
    return any(hasattr(parameter, "to_local") for parameter in module.parameters())


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """In the body each process holds all weights, so that it can evaluate users of its own.

    For a model that is not split it does nothing.
    """
    from torch.distributed.fsdp import FSDPModule

    parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(True, recurse=False)


def local(tensor: Tensor) -> Tensor:
    """This process's rows of a tensor; the tensor itself if it is not split."""
    own: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return own


# ---- Checkpoints ----


def newest(path: Path) -> Path | None:
    """The last whole checkpoint, of those beside `path` with the number of an epoch after it."""
    named = ((re.fullmatch(rf"{path.stem}-(\d+)", p.name), p) for p in path.parent.glob("*"))
    found = [(int(match[1]), folder) for match, folder in named if match]
    return max(found)[1] if found else None


class Checkpoint(Protocol):
    """Settings and history of a training as JSON, and its tensors by name."""

    def run(self) -> str: ...

    def tensors(self) -> dict[str, Tensor]: ...


def save(path: Path, epoch: int, found: Checkpoint, on_main: Callable[..., Any]) -> None:
    """Write a checkpoint's folder, whole or not at all, and remove the ones before it.

    `on_main` runs a function in the main process while the others wait.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save as write

    folder = path.with_name(f"{path.stem}-{epoch}")
    making = path.with_name(f".{path.stem}.making")
    on_main(lambda: shutil.rmtree(making, ignore_errors=True))
    tensors = {name: tensor.detach() for name, tensor in found.tensors().items()}
    writer = HuggingFaceStorageWriter(str(making), save_distributed=True)
    with _quiet():
        write(tensors, storage_writer=writer)

    def finish() -> None:
        hashes = {file.name: file_hash(file) for file in sorted(making.glob("*.safetensors"))}
        write_text(
            making / RUN, json.dumps({"run": found.run(), "names": [*tensors], "sha256": hashes})
        )
        making.rename(folder)
        for old in path.parent.glob(f"{path.stem}-*"):
            if old != folder:
                shutil.rmtree(old)

    on_main(finish)


def read(folder: Path) -> tuple[str, list[str]]:
    """The run and the names of the tensors of a checkpoint that `save` wrote.

    Raises ValueError if a file is missing or was changed.
    """
    try:
        found = json.loads((folder / RUN).read_text(encoding="utf-8"))
        run, names, hashes = str(found["run"]), list(found["names"]), dict(found["sha256"])
        for name, expected in hashes.items():
            if file_hash(folder / name) != expected:
                raise ValueError(f"{name} was changed after it was written")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{folder} is corrupt or no checkpoint of this library ({error}); delete it to start "
            "over"
        ) from error
    return run, names


def load(folder: Path, names: list[str], model: nn.Module) -> list[dict[str, Tensor]]:
    """Weights, best weights and AdamW's state of a checkpoint, split as the model's parameters."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load as fill

    own, numbered = dict(model.named_parameters()), list(model.parameters())
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adamw": {}}
    for group, _, name in (key.partition("/") for key in names):
        number, _, entry = name.partition("/")
        like = own[name] if group != "adamw" else numbered[int(number)]
        room = torch.zeros(()) if entry == "step" else torch.zeros_like(like.detach())
        groups[group][name] = room
    tensors = {f"{group}/{k}": t for group, found in groups.items() for k, t in found.items()}
    with _quiet():
        fill(tensors, storage_reader=HuggingFaceStorageReader(str(folder)))
    return [*groups.values()]


@contextmanager
def _quiet() -> Iterator[None]:
    """A single process is not a mistake here, though torch warns of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield
