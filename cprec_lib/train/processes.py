"""One process or several that train a model together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from cprec_lib.big.sharding import is_split
from cprec_lib.files import held

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")


class Processes:
    """The processes that train one model together, each on its own device; usually one.

    `accelerate launch`, `accelerate.notebook_launcher` and `torchrun` start several, on one machine
    or more, which all run the same program. This process is number `index` of `count`; `main` is
    True in the one that writes and prints. Through Hugging Face accelerate, torch's
    DistributedDataParallel averages the gradients (Li et al., "PyTorch Distributed", VLDB 2020).
    """

    def __init__(self) -> None:
        # Imported here because it takes a quarter of a second, which only training needs.
        from accelerate import Accelerator

        self._accelerator: Accelerator = Accelerator(
            device_placement=False,
            cpu=not torch.cuda.is_available(),  # else each process finds itself alone
        )
        self.index: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes
        self.main: bool = self._accelerator.is_main_process

    @property
    def mixed_precision(self) -> str:
        """The launcher's setting: "no", "fp16", "bf16" or "fp8"."""
        return str(self._accelerator.mixed_precision)

    def main_first(self) -> AbstractContextManager[None]:
        """On each machine the first process runs the body before the others do."""
        first: AbstractContextManager[None] = self._accelerator.local_main_process_first()
        return first

    @staticmethod
    def leave() -> None:
        """End the process group, which torch demands before the program ends."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def device(self, own: torch.device) -> torch.device:
        """The device of this process: `own` if alone, else the one that it was started for."""
        chosen: torch.device = self._accelerator.device if self.count > 1 else own
        return chosen

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module; with several processes, its backward pass averages the gradients.

        Every step must use every parameter. All processes get the main one's initial weights.
        """
        wrapped: nn.Module = module if is_split(module) else self._accelerator.prepare(module)
        return wrapped

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes."""
        mean: Tensor = self._accelerator.reduce(value, "mean")
        return mean

    def gather(self, values: list[T]) -> list[T]:
        """The values of all processes, in their order."""
        from accelerate.utils import gather_object

        found: list[T] = gather_object(values)
        return found

    @contextmanager
    def holding(self, folder: Path | None) -> Iterator[None]:
        """The main process holds the folder for all (see `held`); None holds nothing."""
        with ExitStack() as stack:
            if folder is not None:
                self.on_main(lambda: stack.enter_context(held(folder)))
            yield

    def on_main(self, function: Callable[[], T]) -> T:
        """Run `function` in the main process alone; every process returns its result.

        An exception is raised in all of them, so that none waits for one that has failed.
        """
        if self.count == 1:
            return function()
        from accelerate.utils import broadcast_object_list

        outcome: list[tuple[T | None, Exception | None]] = [(None, None)]
        if self.main:
            try:
                outcome = [(function(), None)]
            except Exception as error:
                outcome = [(None, error)]
        broadcast_object_list(outcome)
        result, raised = outcome[0]
        if raised is not None:
            raise raised
        return result  # type: ignore[return-value]
