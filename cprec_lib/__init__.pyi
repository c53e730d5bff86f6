"""Every public name and the module that has it; `__init__.py` reads this list."""

from . import serve as serve
from .big.sequences import load_sequences as load_sequences
from .compress.codes import Codes as Codes
from .compress.compressor import CompressedConfig as CompressedConfig
from .compress.compressor import compress_with as compress_with
from .compress.compressor import compressed_config as compressed_config
from .compress.hashing import Hashing as Hashing
from .compress.pruning import Pruning as Pruning
from .compress.quantisation import Rounding as Rounding
from .compress.tying import Tying as Tying
from .data.sequences import Catalogue as Catalogue
from .data.sequences import SequenceData as SequenceData
from .evidence.bootstrap import Interval as Interval
from .evidence.bootstrap import compare as compare
from .export.folder import export_model as export_model
from .export.folder import export_run as export_run
from .logs.datasets import load_interactions as load_interactions
from .logs.datasets import load_titles as load_titles
from .model.bounds import TailBounds as TailBounds
from .model.config import ModelConfig as ModelConfig
from .model.config import cprec as cprec
from .model.config import gru4rec as gru4rec
from .model.config import nextitnet as nextitnet
from .model.config import sasrec as sasrec
from .model.cost import Ledger as Ledger
from .model.cost import count_parameters as count_parameters
from .model.embedding import BlockEmbedding as BlockEmbedding
from .model.embedding import FullEmbedding as FullEmbedding
from .model.middle import GRU as GRU
from .model.middle import DilatedCNN as DilatedCNN
from .model.middle import SelfAttention as SelfAttention
from .model.partition import BlockPartition as BlockPartition
from .model.recommender import SequentialRecommender as SequentialRecommender
from .model.sharing import SHARING as SHARING
from .model.softmax import BlockSoftmax as BlockSoftmax
from .model.softmax import FullSoftmax as FullSoftmax
from .model.softmax import LowRankSoftmax as LowRankSoftmax
from .train.baselines import Bigram as Bigram
from .train.baselines import Popularity as Popularity
from .train.checkpoints import History as History
from .train.config import TrainConfig as TrainConfig
from .train.evaluation import Ranks as Ranks
from .train.evaluation import evaluate as evaluate
from .train.training import fit as fit

__version__: str
