"""What `import cprec_lib` brings, and what it does not."""

import subprocess
import sys
from pathlib import Path

import cprec_lib

ROOT = Path(__file__).parents[1]
HEAVY = (
    "matplotlib",
    "seaborn",
    "pooch",
    "ipywidgets",
    "typer",
    "IPython",
    "jupyterlab",
    "sklearn",
)


def test_importing_the_library_loads_no_plotting_widgets_or_downloads():
    code = f"import sys, cprec_lib; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_names_of_the_contract_are_there():
    names = """SHARING Bigram BlockEmbedding BlockPartition BlockSoftmax DilatedCNN FullEmbedding
    FullSoftmax Ledger LowRankSoftmax ModelConfig Popularity Ranks SequenceData
    SequentialRecommender TrainConfig compare count_parameters cprec evaluate fit nextitnet"""
    assert set(names.split()) <= set(cprec_lib.__all__)
    assert all(hasattr(cprec_lib, name) for name in cprec_lib.__all__)
