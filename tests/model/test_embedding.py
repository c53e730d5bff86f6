"""The embeddings against a lookup written from the formula; padding; wrong ids."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cprec_lib import BlockEmbedding, BlockPartition, FullEmbedding
from tests.strategies import partitions

PARTITION = BlockPartition(10, (2, 5), (8, 4, 1))


def vector(embedding: BlockEmbedding, item: int) -> Tensor:
    """e(x) = E_1[x] in the head, P_j E_j[x] in tail block j, zero for padding."""
    if item == 0:
        return torch.zeros(embedding.partition.width, dtype=torch.float64)
    blocks = enumerate(embedding.partition.bounds)
    block, start = next((j, start) for j, (start, end) in blocks if start < item <= end)
    row = embedding.tables[block].weight[item - start - 1]
    return row if block == 0 else embedding.projections[block].weight @ row


@given(partitions(), st.integers(0, 100))
def test_block_embedding_is_lookup_and_projection(partition, seed):
    torch.manual_seed(seed)
    embedding = BlockEmbedding(partition).double()
    ids = torch.randint(0, partition.n_items + 1, (3, 7))
    expected = torch.stack([vector(embedding, int(i)) for i in ids.flatten()]).view(3, 7, -1)
    torch.testing.assert_close(embedding(ids), expected, rtol=1e-12, atol=1e-12)


def test_every_item_including_the_first_and_last_of_a_block():
    embedding = BlockEmbedding(PARTITION).double()
    ids = torch.arange(11)
    expected = torch.stack([vector(embedding, i) for i in range(11)])
    torch.testing.assert_close(embedding(ids[None])[0], expected)


@given(partitions())
def test_tables_and_projections_have_the_shapes_of_the_contract(partition):
    embedding = BlockEmbedding(partition)
    shapes = [tuple(table.weight.shape) for table in embedding.tables]
    assert shapes == list(zip(partition.sizes, partition.widths, strict=True))
    for j in range(1, partition.n_blocks):
        shape = (partition.width, partition.widths[j])
        assert tuple(embedding.projections[j].weight.shape) == shape
    tails = list(zip(partition.sizes, partition.widths, strict=True))[1:]
    expected = partition.sizes[0] * partition.width
    expected += sum(size * width + width * partition.width for size, width in tails)
    assert sum(p.numel() for p in embedding.parameters()) == expected


def test_full_embedding_is_a_table_without_a_row_for_padding():
    embedding = FullEmbedding(6, 3)
    assert [tuple(p.shape) for p in embedding.parameters()] == [(6, 3)]
    vectors = embedding(torch.tensor([[0, 1, 6]]))[0]
    assert torch.equal(vectors[1:], embedding.weight[[0, 5]])
    assert torch.equal(vectors[0], torch.zeros(3))


@pytest.mark.parametrize("embedding", [FullEmbedding(10, 8), BlockEmbedding(PARTITION)])
def test_padding_is_zero_and_gets_no_gradient(embedding):
    vectors = embedding(torch.zeros(2, 4, dtype=torch.long))
    assert torch.equal(vectors, torch.zeros(2, 4, 8))
    vectors.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in embedding.parameters())


def test_a_row_gets_gradient_from_its_own_item_alone():
    embedding = BlockEmbedding(PARTITION)
    embedding(torch.tensor([[1, 4, 4, 0]])).sum().backward()
    head, middle, tail = (table.weight.grad for table in embedding.tables)
    assert torch.equal(head, torch.tensor([[1.0], [0.0]]).expand(2, 8))
    assert middle[1].any() and not middle[[0, 2]].any()
    assert not tail.any()
    projection = embedding.projections[1].weight
    torch.testing.assert_close(middle[1], 2 * projection.sum(0))


def test_head_and_tail_vectors_start_with_the_variance_of_the_full_table():
    torch.manual_seed(0)
    partition = BlockPartition(6000, (2000, 4000), (64, 16, 1))
    vectors = BlockEmbedding(partition)(torch.arange(1, 6001)[None])[0]
    full = FullEmbedding(2000, 64)(torch.arange(1, 2001)[None])[0]
    assert full.var().item() == pytest.approx(1 / 64, rel=0.05)
    for block in vectors[:4000].split(2000):
        assert block.var().item() == pytest.approx(1 / 64, rel=0.15)
    # A block of width 1 has one projection of 64 numbers: its variance is known only roughly.
    assert vectors[4000:].var().item() == pytest.approx(1 / 64, rel=0.6)


@pytest.mark.parametrize("embedding", [FullEmbedding(10, 8), BlockEmbedding(PARTITION)])
def test_ids_outside_the_catalogue_are_refused(embedding):
    for wrong in (-1, 11, 10**9):
        with pytest.raises(ValueError, match=rf"item id {wrong} is outside 0\.\.10; ids are"):
            embedding(torch.tensor([[1, wrong, 2]]))


@pytest.mark.parametrize("embedding", [FullEmbedding(10, 8), BlockEmbedding(PARTITION)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bool, torch.int8, torch.int32])
def test_ids_that_are_no_64_bit_integers_are_refused(embedding, kind):
    with pytest.raises(ValueError, match=f"item ids have the type {kind}; convert them with"):
        embedding(torch.ones(1, 2).to(kind))


@pytest.mark.parametrize("embedding", [FullEmbedding(10, 8), BlockEmbedding(PARTITION)])
@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_ids_give_no_vectors(embedding, shape):
    assert embedding(torch.zeros(shape, dtype=torch.long)).shape == (*shape, 8)


def test_the_smallest_partition_of_width_1():
    embedding = BlockEmbedding(BlockPartition(2, (1,), (1, 1))).double()
    vectors = embedding(torch.tensor([[0, 1, 2]])).squeeze(-1)[0]
    expected = [0.0, embedding.tables[0].weight.item()]
    expected += [(embedding.projections[1].weight * embedding.tables[1].weight).item()]
    assert vectors.tolist() == pytest.approx(expected)
