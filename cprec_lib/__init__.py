"""CpRec: small and fast sequential recommenders, built step by step.

Sun et al., "A Generic Network Compression Framework for Sequential Recommender Systems",
SIGIR 2020, arXiv 2004.13139.
"""

from cprec_lib.baselines import Bigram, Popularity
from cprec_lib.datasets import load_interactions, load_titles
from cprec_lib.embedding import BlockEmbedding, FullEmbedding
from cprec_lib.evaluation import Interval, Ranks, compare, evaluate
from cprec_lib.ledger import Ledger, count_parameters
from cprec_lib.middle import DilatedCNN
from cprec_lib.partition import BlockPartition
from cprec_lib.recommender import ModelConfig, SequentialRecommender, cprec, nextitnet
from cprec_lib.sequences import Catalogue, SequenceData
from cprec_lib.sharing import SHARING
from cprec_lib.softmax import BlockSoftmax, FullSoftmax, LowRankSoftmax
from cprec_lib.training import History, TrainConfig, fit

__version__ = "0.1.0"

__all__ = [
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
    "SequenceData",
    "SequentialRecommender",
    "TrainConfig",
    "compare",
    "count_parameters",
    "cprec",
    "evaluate",
    "fit",
    "load_interactions",
    "load_titles",
    "nextitnet",
]
