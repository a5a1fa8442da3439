from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rankrag.training import attention
from rankrag.training.batches import attention_mask, to_batch
from rankrag.training.loss import RowModel
from rankrag.training.rows import Row, Tail
from rankrag.types import DataKind

from ..conftest import TINY_LLAMA


def row_of(prefix, tails):
    return Row(tuple(range(prefix)), [Tail(tuple(range(n)), (1,), 1.0, DataKind.SFT) for n in tails])


rows = st.builds(row_of, st.integers(1, 60), st.lists(st.integers(1, 30), min_size=1, max_size=8))
alone = st.builds(lambda n: row_of(0, [n]), st.integers(1, 90))
sequences = st.lists(st.lists(rows | alone, max_size=4), min_size=1, max_size=3)


@given(sequences, st.integers(1, 40))
def test_pieces_cover_all_that_is_seen_and_are_short(sequences, limit):
    length = max(sum(map(len, rows)) for rows in sequences) + 3
    mask = attention_mask(to_batch(sequences, length, 0), torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "PIECE_TOKENS", limit)
        pieces = attention.pieces_of(mask)
    whole = torch.full((len(sequences) * length,) * 2, -1.0)
    for piece in pieces:
        columns = [t for i in piece.earlier for t in range(pieces[i].start, pieces[i].end)]
        columns += range(piece.start, piece.end)
        assert piece.mask.shape == (piece.end - piece.start, len(columns))
        whole[piece.start : piece.end, columns] = piece.mask
    for number, seen in enumerate(mask[:, 0]):
        own = slice(number * length, (number + 1) * length)
        assert torch.equal(whole[own, own] == 0, seen == 0)
        whole[own, own] = -1
    assert (whole < 0).all()  # no sequence sees another
    longest = max(len(tail) for rows in sequences for row in rows for tail in row.tails) if any(sequences) else 0
    assert all(piece.end - piece.start <= max(limit, longest) for piece in pieces)


def test_the_pieces_of_a_mask_are_found_once_for_all_layers():
    first, second = (attention_mask(to_batch([[row_of(3, n)]], 40, 0), torch.float32) for n in ([4, 5], [9]))
    assert attention.pieces_of(first) is attention.pieces_of(first)
    assert attention.pieces_of(second) is not attention.pieces_of(first)


def test_dropout_and_a_scale_of_ones_own_are_minded():
    mask = attention_mask(to_batch([[row_of(3, [4, 5])]], 20, 0), torch.float32)
    query, key, value = torch.randn(3, 1, 2, 20, 4)
    module = torch.nn.Module()
    scaled, _ = attention.in_pieces(module, query, key, value, mask, scaling=1.0)
    usual, _ = attention.in_pieces(module, query * 2, key, value, mask)
    assert torch.allclose(scaled, usual, atol=1e-6)
    dropped, _ = attention.in_pieces(module, query, key, value, mask, dropout=1.0)
    assert not dropped.any()


def test_what_is_added_to_the_scores_by_a_model_goes_to_transformers():
    mask = attention_mask(to_batch([[row_of(3, [4, 5])]], 20, 0), torch.float32)
    query, bias = torch.randn(1, 2, 20, 4), torch.randn(1, 2, 20, 20)
    found, _ = attention.in_pieces(torch.nn.Module(), query, query, query, mask, position_bias=bias)
    expected, _ = sdpa_attention_forward(torch.nn.Module(), query, query, query, mask, position_bias=bias)
    assert torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_scores_are_capped_where_the_model_wants_it():
    batch = to_batch([[row_of(3, [4, 5])]], 20, 0)
    mask, (query, key, value) = attention_mask(batch, torch.float32), torch.randn(3, 1, 2, 20, 4) * 3
    scores = 2 * torch.tanh(query @ key.transpose(2, 3) / 2 / 2)
    expected = ((scores + mask).softmax(-1) @ value).transpose(1, 2)
    in_pieces, _ = attention.in_pieces(torch.nn.Module(), query, key, value, mask, softcap=2.0)
    in_blocks, _ = attention.in_blocks(torch.nn.Module(), query, key, value, attention.block_mask(batch), softcap=2.0)
    assert torch.allclose(in_pieces, expected, atol=1e-5)
    assert torch.allclose(in_blocks, expected, atol=1e-5)


@given(sequences)
def test_a_block_mask_shows_what_the_dense_mask_shows(sequences):
    batch = to_batch(sequences, max(sum(map(len, rows)) for rows in sequences) + 3, 0)
    dense = attention_mask(batch, torch.float32)
    blocks = attention.block_mask(batch)
    places = torch.meshgrid(*(torch.arange(n) for n in (dense.shape[0], *dense.shape[2:])), indexing="ij")
    assert torch.equal(blocks.mask_mod(places[0], None, places[1], places[2]), dense[:, 0] == 0)


def attended(device):
    """Return logits and gradients of a projection by name of attention; a CPU has no gradients of blocks."""
    shape = LlamaConfig(vocab_size=64, **TINY_LLAMA | {"initializer_range": 0.02})
    torch.manual_seed(0)
    model = LlamaForCausalLM(shape).to(device)
    batch = to_batch([[row_of(12, [4, 5]), row_of(0, [7])], [row_of(30, [9, 2, 3])]], 256, 0).to(torch.device(device))
    logits, gradients = {}, {}
    for name in ("sdpa", attention.IN_PIECES, attention.IN_BLOCKS):
        model.set_attn_implementation(name)
        model.zero_grad()
        with torch.set_grad_enabled(name != attention.IN_BLOCKS or device != "cpu"):
            logits[name] = RowModel(model)(batch)
        if logits[name].requires_grad:
            logits[name].square().sum().backward()
            gradients[name] = model.model.layers[0].self_attn.k_proj.weight.grad.clone()
    return logits, gradients


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_all_attentions_give_the_same_logits():
    logits, gradients = attended("cpu")
    assert len(logits) == 3
    assert all(torch.allclose(found, logits["sdpa"], atol=1e-5) for found in logits.values())
    assert set(gradients) == {"sdpa", attention.IN_PIECES}
    assert torch.allclose(gradients["sdpa"], gradients[attention.IN_PIECES], atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:flex_attention called without", "ignore:The .grad attribute of a Tensor")
def test_blocks_on_a_gpu_give_the_same_logits_and_gradients():
    logits, gradients = attended("cuda")
    assert torch.allclose(logits[attention.IN_BLOCKS], logits["sdpa"], atol=1e-3)
    assert torch.allclose(gradients[attention.IN_BLOCKS], gradients["sdpa"], atol=1e-2)


def test_blocks_are_for_a_gpu_with_compiled_layers(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert attention.implementation(compiled=True) == attention.IN_PIECES
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert attention.implementation(compiled=True) == attention.IN_BLOCKS
    assert attention.implementation(compiled=False) == "sdpa"
