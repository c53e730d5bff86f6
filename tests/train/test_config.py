"""The options of a training: what is refused, and what becomes a plain number."""

import numpy as np
import pytest

from cprec_lib import TrainConfig, fit
from cprec_lib.train.checkpoints import CHECKPOINT
from tests.train.small import new_model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs 0 is below 1; 20 is usual"),
        ({"batch_size": -1}, "batch_size -1 is below 1; 32 is usual"),
        ({"patience": 0}, "patience 0 is below 1; 3 is usual"),
        ({"epochs": 2.5}, r"epochs 2\.5 is not a whole number"),
        ({"seed": "7"}, "seed '7' is not a whole number"),
        ({"learning_rate": 0}, r"learning_rate 0\.0 is not a positive number; 0.003 is"),
        ({"learning_rate": float("nan")}, "learning_rate nan is not"),
        ({"learning_rate": float("inf")}, "learning_rate inf is not"),
        ({"weight_decay": -0.1}, r"weight_decay -0\.1 is negative .*; 0.01 is usual"),
        ({"weight_decay": float("nan")}, "weight_decay nan is negative or not a number"),
        ({"precision": "fp16"}, "unknown precision 'fp16'; choose one of float32, bfloat16"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'; choose one of constant, linear"),
        ({"compile": 1}, "compile 1 is neither True nor False"),
    ],
)
def test_settings_that_train_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def test_numpy_numbers_become_plain_ones(data, tmp_path):
    config = TrainConfig(
        np.int64(1), np.int32(16), np.float32(0.5), np.float64(0), patience=np.int64(9)
    )
    assert config == TrainConfig(1, 16, 0.5, 0.0, patience=9)
    fit(new_model(), data, config, tmp_path, progress=False)
    assert (tmp_path / CHECKPOINT).exists()
