"""A bar of progress, or lines of text where nobody can watch a bar."""

from __future__ import annotations

import math
import sys
from typing import Any

from tqdm import tqdm


def watched() -> bool:
    """Whether standard output can show a moving bar: a terminal's or a notebook's."""
    return sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")


def bar(text: str, total: int, initial: int, unit: str, progress: bool) -> tqdm[Any]:
    """A bar after the text, from `initial` to `total`; it never appears if nobody can watch it."""
    # With progress, `disable` is not passed, so that the environment's TQDM_DISABLE applies.
    quiet: dict[str, Any] = {} if progress else {"disable": True}
    return tqdm(
        desc=text,
        total=total,
        initial=initial,
        unit=unit,
        unit_scale=True,
        file=sys.stdout,
        dynamic_ncols=True,
        delay=0 if watched() else math.inf,
        **quiet,
    )


def show(bar: tqdm[Any], text: str, numbers: str) -> None:
    """Put text and numbers at the bar, or print them as a line."""
    bar.set_description_str(text, refresh=False)
    bar.set_postfix_str(numbers, refresh=watched())
    if not (bar.disable or watched()):
        print(f"{text}: {numbers}", flush=True)
