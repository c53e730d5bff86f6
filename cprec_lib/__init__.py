"""CpRec: small and fast sequential recommenders, built step by step.

Sun et al., "A Generic Network Compression Framework for Sequential Recommender Systems",
SIGIR 2020, arXiv 2004.13139.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cprec_lib.baselines import Bigram, Popularity
    from cprec_lib.bounds import TailBounds
    from cprec_lib.checkpoints import History
    from cprec_lib.datasets import load_interactions, load_titles
    from cprec_lib.embedding import BlockEmbedding, FullEmbedding
    from cprec_lib.evaluation import Interval, Ranks, compare, evaluate
    from cprec_lib.ledger import Ledger, count_parameters
    from cprec_lib.middle import GRU, DilatedCNN, SelfAttention
    from cprec_lib.partition import BlockPartition
    from cprec_lib.recommender import (
        ModelConfig,
        SequentialRecommender,
        cprec,
        gru4rec,
        nextitnet,
        sasrec,
    )
    from cprec_lib.sequences import Catalogue, SequenceData
    from cprec_lib.sharing import SHARING
    from cprec_lib.softmax import BlockSoftmax, FullSoftmax, LowRankSoftmax
    from cprec_lib.training import TrainConfig, fit

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "SHARING",
    "Bigram",
    "BlockEmbedding",
    "BlockPartition",
    "BlockSoftmax",
    "Catalogue",
    "DilatedCNN",
    "FullEmbedding",
    "FullSoftmax",
    "History",
    "Interval",
    "Ledger",
    "LowRankSoftmax",
    "ModelConfig",
    "Popularity",
    "Ranks",
    "SelfAttention",
    "SequenceData",
    "SequentialRecommender",
    "TailBounds",
    "TrainConfig",
    "compare",
    "count_parameters",
    "cprec",
    "evaluate",
    "fit",
    "gru4rec",
    "load_interactions",
    "load_titles",
    "nextitnet",
    "sasrec",
]

_HOMES = {
    "Bigram": "baselines",
    "BlockEmbedding": "embedding",
    "BlockPartition": "partition",
    "BlockSoftmax": "softmax",
    "Catalogue": "sequences",
    "DilatedCNN": "middle",
    "FullEmbedding": "embedding",
    "FullSoftmax": "softmax",
    "GRU": "middle",
    "History": "checkpoints",
    "Interval": "evaluation",
    "Ledger": "ledger",
    "LowRankSoftmax": "softmax",
    "ModelConfig": "recommender",
    "Popularity": "baselines",
    "Ranks": "evaluation",
    "SHARING": "sharing",
    "SelfAttention": "middle",
    "SequenceData": "sequences",
    "SequentialRecommender": "recommender",
    "TailBounds": "bounds",
    "TrainConfig": "training",
    "compare": "evaluation",
    "count_parameters": "ledger",
    "cprec": "recommender",
    "evaluate": "evaluation",
    "fit": "training",
    "gru4rec": "recommender",
    "load_interactions": "datasets",
    "load_titles": "datasets",
    "nextitnet": "recommender",
    "sasrec": "recommender",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for (PEP 562).

    So `cprec --help` does not wait for torch, and `cprec doctor` can report a torch that is broken.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
