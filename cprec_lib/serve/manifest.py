"""An exported model is a folder: its files, and the manifest that says they belong together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cprec_lib.checks import whole_number, whole_numbers
from cprec_lib.files import file_hash, write_text

FORMAT = 2
"""Version of the format; a reader refuses every other one."""
GRAPH, STEP = "model.onnx", "step.onnx"
"""The middle layers over a whole history, and one position further, if they can go on from it."""
TABLES, ITEMS, MANIFEST = "tables.safetensors", "items.safetensors", "manifest.json"
EXPORT = "export the run again with `cprec export`"


def check_no_export(folder: Path, way_out: str = "choose another folder") -> None:
    """Raise ValueError for a file, and for the folder of an exported model, which is no run's."""
    if folder.is_file():
        raise ValueError(f"{folder} is a file, not a folder; {way_out}")
    if (folder / GRAPH).exists():
        raise ValueError(f"{folder} holds an exported model; {way_out}")


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Name the folder and the way out in the system's own errors; ours have no number."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(
            error.errno, f"cannot read {str(folder)[:100]}: {error.strerror}; name another folder"
        ) from error


@dataclass(frozen=True)
class Manifest:
    """What the files of an exported model do not say themselves.

    `name` is that of the run. A prediction depends on the last `window` items of a history, or on
    all if it is None. The blocks of the embedding end at the items `embedding_ends`, those of the
    softmax at `softmax_ends`. `lags` has, for each layer of `STEP`, how many positions back its
    earlier inputs lie; it is None if the middle layers cannot go on from what they have computed.
    `shared` has, for each tensor that is stored under the name of another one, that name. `sha256`
    has the hash of each file. Raises ValueError for entries of another type, and for blocks that do
    not end at the last item.
    """

    name: str
    n_items: int
    width: int
    window: int | None
    embedding_ends: tuple[int, ...]
    softmax_ends: tuple[int, ...]
    lags: tuple[tuple[int, ...], ...] | None
    shared: dict[str, str]
    sha256: dict[str, str]
    format: int = FORMAT

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError("name is a text")
        if not isinstance(self.sha256, dict) or not isinstance(self.shared, dict):
            raise ValueError("sha256 and shared are objects")
        for name in ("n_items", "width"):
            whole_number(name, getattr(self, name), least=1)
        if self.window is not None:
            whole_number("window", self.window, least=1)
        for name in ("embedding_ends", "softmax_ends"):
            ends = whole_numbers(name, getattr(self, name), least=1)
            if ends[-1:] != (self.n_items,):
                raise ValueError(f"{name} does not end at the last item, {self.n_items}")
            object.__setattr__(self, name, ends)
        if self.lags is not None:
            lags = tuple(whole_numbers("lag", layer, least=1) for layer in self.lags)
            object.__setattr__(self, "lags", lags)

    @property
    def files(self) -> set[str]:
        """Names of the files that the model needs."""
        return {GRAPH, TABLES, ITEMS} | ({STEP} if self.lags is not None else set())

    def write(self, folder: Path) -> None:
        """Write the manifest, which completes the folder. Raises OSError as `write_text` does."""
        write_text(folder / MANIFEST, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder, and check the hash of each file that it lists.

        Raises FileNotFoundError for a missing file, ValueError for a path that is no folder, for a
        folder of another version and for a file that has changed.
        """
        path = folder / MANIFEST
        if folder.is_file():
            raise ValueError(f"{folder} is a file; name a folder that `cprec export` wrote")
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no exported model: {MANIFEST} is missing; make one with "
                f"`cprec export --model RUN --out {folder}`"
            )
        manifest = _parse(path)
        for name, expected in manifest.sha256.items():
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing; {EXPORT}")
            if file_hash(folder / name) != expected:
                raise ValueError(
                    f"{folder / name} is not the file that {MANIFEST} lists: it was changed, or "
                    f"copying it was interrupted; copy the folder again, or {EXPORT}"
                )
        return manifest


def _parse(path: Path) -> Manifest:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = values["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not that of an exported model; {EXPORT}") from error
    if version != FORMAT:
        raise ValueError(
            f"{path} has the format {version!r}, and this version of cprec-lib reads {FORMAT}; "
            f"{EXPORT} of this version"
        )
    try:
        manifest = Manifest(**values)
        missing = manifest.files - {*manifest.sha256}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a manifest ({error}); {EXPORT}") from error
    if missing or any(Path(name).name != name for name in manifest.sha256):
        raise ValueError(f"{path} lists {sorted(manifest.sha256)}, not a model's files; {EXPORT}")
    return manifest
