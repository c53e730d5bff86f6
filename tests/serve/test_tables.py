"""Tables and blocks against the embeddings of torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib import BlockEmbedding, FullEmbedding
from cprec_lib.export.folder import embedding_ends, embedding_tables
from cprec_lib.serve.tables import Embedding, read_blocks, read_table
from tests.strategies import partitions


@pytest.mark.parametrize("decomposed", [False, True])
@given(partition=partitions(), seed=st.integers(0, 100))
def test_an_embedding_is_that_of_torch(decomposed, partition, seed):
    torch.manual_seed(seed)
    full = FullEmbedding(partition.n_items, partition.width)
    embedding = BlockEmbedding(partition) if decomposed else full
    tensors = {name: tensor.detach().numpy() for name, tensor in embedding_tables(embedding)}
    served = Embedding(
        read_blocks(tensors, "embedding"), embedding_ends(embedding), partition.width
    )
    ids = torch.randint(0, partition.n_items + 1, (3, 5))
    with torch.no_grad():
        np.testing.assert_allclose(served(ids.numpy()), embedding(ids).numpy(), atol=1e-5)


def test_a_product_with_one_vector_is_that_with_several():
    weights = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    table = read_table({"some.table": weights}, "some.table")
    vectors = weights[:2]
    np.testing.assert_allclose(table.product(vectors)[:1], table.product(vectors[:1]), rtol=1e-6)
    np.testing.assert_array_equal(table.rows(np.array([2, 0])), weights[[2, 0]])


def test_a_table_that_is_not_there_is_an_error():
    with pytest.raises(KeyError, match="root"):
        read_table({}, "root.0.table")
