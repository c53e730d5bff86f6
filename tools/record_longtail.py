"""Record how popularity falls off in several data sets: `python -m tools.record_longtail`.

The arguments are NAME=PATH_OR_NAME: a name from DESCRIPTIONS, and the name or path of the data set
for `load_interactions`. Only counts are recorded: sizes, shares, a fit, and the rank-frequency
curve at about 60 ranks, which notebook 01 compares.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cprec_lib import load_interactions
from cprec_lib.course.popularity import fit_zipf, gini, log_spaced_ranks, sorted_counts, top_share
from cprec_lib.files import make_folder, write_text
from cprec_lib.logs.datasets import title_of

ROOT = Path(__file__).resolve().parent.parent
TOP_SHARES = (0.01, 0.05, 0.2)
POINTS = 60


@dataclass(frozen=True)
class Description:
    """What a record says of a data set besides its title and its numbers."""

    events: str
    terms: str
    source: str


MOVIELENS = "GroupLens, Harper and Konstan (2015), doi 10.1145/2827872"
MOVIELENS_TERMS = "research use, no redistribution, no commercial use"
DESCRIPTIONS = {
    "ml-100k": Description(
        "film ratings; each user has 20 or more",
        MOVIELENS_TERMS,
        MOVIELENS,
    ),
    "ml-1m": Description(
        "film ratings; films with fewer than 5 are left out",
        MOVIELENS_TERMS,
        MOVIELENS,
    ),
    "online-retail": Description(
        "lines of invoices of a shop for gifts",
        "CC BY 4.0",
        "UCI Machine Learning Repository, Chen (2015), doi 10.24432/C5BW33",
    ),
    "amazon-beauty": Description(
        "product reviews; each user has 5 or more",
        "research use",
        "Amazon reviews, McAuley et al. (2015), doi 10.1145/2766462.2767755",
    ),
    "globo": Description(
        "clicks on news articles; each user has 2 or more",
        "academic and educational use only",
        "Globo.com, de Souza Pereira Moreira et al. (2018), doi 10.1145/3270323.3270328",
    ),
}


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """Sizes, concentration and rank-frequency curve of a whole table of interactions."""
    counts = sorted_counts(table["item"].value_counts().to_numpy())
    fit = fit_zipf(counts)
    ranks = log_spaced_ranks(len(counts), POINTS)
    return {
        "users": table["user"].nunique(),
        "items": len(counts),
        "interactions": len(table),
        "median_count": float(np.median(counts)),
        "gini": round(gini(counts), 4),
        "exponent": round(fit.exponent, 4),
        "r_squared": round(fit.r_squared, 4),
        "top_shares": {str(share): round(top_share(counts, share), 4) for share in TOP_SHARES},
        "ranks": ranks.tolist(),
        "counts": counts[ranks - 1].tolist(),
    }


def record(sources: Sequence[tuple[str, str]], today: date) -> dict[str, Any]:
    """The record of the data sets, given as pairs (name in DESCRIPTIONS, path or name to load).

    Raises ValueError for a name without a description, before anything is loaded.
    """
    for name, _ in sources:
        if name not in DESCRIPTIONS:
            raise ValueError(
                f"{name!r} has no description; use one of {', '.join(DESCRIPTIONS)}, or add its "
                "events, terms and source to DESCRIPTIONS"
            )
    data_sets = {
        name: {
            "title": title_of(name),
            **asdict(DESCRIPTIONS[name]),
            **summarise(load_interactions(source)),
        }
        for name, source in sources
    }
    return {
        "made": today.isoformat(),
        "made_by": "python -m tools.record_longtail "
        + " ".join(f"{name}=..." for name, _ in sources),
        "counted": "all interactions of each log",
        "data_sets": data_sets,
    }


def parse_source(text: str) -> tuple[str, str]:
    """Split NAME=PATH_OR_NAME. Raises ValueError if a part is missing."""
    name, _, source = text.partition("=")
    if not (name and source):
        raise ValueError(f"{text!r} is not NAME=PATH_OR_NAME, as in ml-100k=ml-100k")
    return name, source


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.record_longtail", description=__doc__)
    parser.add_argument("sources", nargs="*", metavar="NAME=PATH_OR_NAME", help="all if none")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "longtail.json")
    options = parser.parse_args(arguments)
    try:
        sources = options.sources or [f"{name}={name}" for name in DESCRIPTIONS]
        content = record([parse_source(text) for text in sources], date.today())
    except (ValueError, OSError) as error:
        parser.error(str(error))
    make_folder(options.out.parent)
    write_text(options.out, json.dumps(content, indent=1) + "\n")
    for name, summary in content["data_sets"].items():
        print(f"{name}: {summary['interactions']:,} interactions, Gini {summary['gini']:.2f}")


if __name__ == "__main__":
    main()
