"""GPT-2's forward pass: as `transformers` computes it, and the same with and without a cache."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from engine.config import ModelConfig
from engine.kv_cache import KVCache
from engine.model import GPT2
from engine.weights import load_model, save_model
from tests.engine.models import CPU, OTHER, TINY, make_model, random_ids

SHAPES = pytest.mark.parametrize("config", [TINY, OTHER], ids=["tiny", "other"])


def new_cache(config: ModelConfig = TINY, num_slots: int = 4) -> KVCache:
    return KVCache(config, num_slots, device=CPU, dtype=torch.float32)


@torch.inference_mode()
def cached_logits(
    model: GPT2, cache: KVCache, ids: Tensor, slots: list[int], starts: list[int]
) -> Tensor:
    return model.logits(model(ids, cache.view(slots, starts, ids.shape[1])))


@torch.inference_mode()
def full_logits(model: GPT2, ids: Tensor) -> Tensor:
    return model.logits(model(ids))


@SHAPES
def test_logits_are_those_of_transformers_on_the_same_weights(
    transformers: ModuleType, vocabulary: Path, tmp_path: Path, config: ModelConfig
):
    model = make_model(config, seed=1)
    save_model(model, vocabulary, tmp_path / "model", dtype=torch.float32)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model").eval()
    ids = random_ids(3, config.n_ctx, n_vocab=config.n_vocab)
    with torch.inference_mode():
        expected = theirs(ids).logits
    assert expected.std() > 0.1
    assert_close(full_logits(model, ids), expected, atol=1e-4, rtol=0)


@SHAPES
def test_a_model_that_transformers_saved_gives_its_logits(
    transformers: ModuleType, tmp_path: Path, config: ModelConfig
):
    torch.manual_seed(2)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**config.to_hugging_face())
    ).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path, device=CPU, dtype=torch.float32)
    assert ours.config == config
    ids = random_ids(2, config.n_ctx, n_vocab=config.n_vocab)
    with torch.inference_mode():
        expected = theirs(ids).logits
    assert_close(full_logits(ours, ids), expected, atol=1e-4, rtol=0)


@SHAPES
@pytest.mark.parametrize("chunks", [[1], [5], [1, 7, 2], [32], [31, 1], [4, 1, 1, 20]])
def test_reading_a_prompt_in_chunks_and_decoding_on_is_one_full_pass(
    config: ModelConfig, chunks: list[int]
):
    model = make_model(config)
    ids = random_ids(1, config.n_ctx, n_vocab=config.n_vocab)
    cache = new_cache(config)
    decoded = [1] * (config.n_ctx - sum(chunks))
    seen, start = [], 0
    for num_tokens in chunks + decoded:
        part = ids[:, start : start + num_tokens]
        seen.append(cached_logits(model, cache, part, [2], [start]))
        start += num_tokens
    assert_close(torch.cat(seen, dim=1), full_logits(model, ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("slots", [[0, 1, 2], [1, 2, 3], [0, 2, 3], [3, 1, 0], [2, 1, 0]], ids=str)
@pytest.mark.parametrize("num_tokens", [1, 3])
def test_a_row_in_a_mixed_batch_gets_what_it_gets_alone(
    model: GPT2, slots: list[int], num_tokens: int
):
    lengths = [3, 40, 17]
    ids = random_ids(3, 64)
    cache = new_cache()
    for row, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
        cached_logits(model, cache, ids[row : row + 1, :length], [slot], [0])
    new = torch.stack(
        [ids[row, length : length + num_tokens] for row, length in enumerate(lengths)]
    )
    together = cached_logits(model, cache, new, slots, lengths)
    for row, length in enumerate(lengths):
        alone = full_logits(model, ids[row : row + 1, : length + num_tokens])
        assert_close(together[row], alone[0, -num_tokens:], atol=1e-5, rtol=1e-5)


def test_a_row_goes_on_alone_as_it_would_have_in_company(model: GPT2):
    ids = random_ids(2, 20)
    cache = new_cache()
    for row in (0, 1):
        cached_logits(model, cache, ids[row : row + 1, :10], [row], [0])
    cached_logits(model, cache, ids[:, 10:11], [0, 1], [10, 10])
    alone = cached_logits(model, cache, ids[1:2, 11:12], [1], [11])
    assert_close(alone[0, -1], full_logits(model, ids[1:2, :12])[0, -1], atol=1e-5, rtol=1e-5)


def test_a_reused_slot_shows_no_trace_of_its_last_tenant(model: GPT2):
    old, new, neighbour = (random_ids(1, 64, seed=seed) for seed in (1, 2, 3))
    cache = new_cache()
    cached_logits(model, cache, old, [1], [0])
    cached_logits(model, cache, neighbour[:, :50], [0], [0])
    cached_logits(model, cache, new[:, :5], [1], [0])
    # The neighbour is longer, so the old tenant's positions are read, and must be masked.
    step = torch.stack([neighbour[0, 50:51], new[0, 5:6]])
    together = cached_logits(model, cache, step, [0, 1], [50, 5])
    assert_close(together[1, -1], full_logits(model, new[:, :6])[0, -1], atol=1e-5, rtol=1e-5)


def test_later_positions_do_not_touch_earlier_logits(model: GPT2):
    ids = random_ids(1, 20)
    changed = ids.clone()
    changed[0, 12:] = random_ids(1, 8, seed=9)
    before, after = full_logits(model, ids), full_logits(model, changed)
    assert_close(before[:, :12], after[:, :12], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before[:, 12:], after[:, 12:], atol=1e-2)


def test_a_cache_takes_the_bytes_that_it_says(model: GPT2):
    cache = new_cache(num_slots=3)
    taken = sum(part.numel() * part.element_size() for part in (cache.k, cache.v))
    assert KVCache.num_bytes(TINY, 3, torch.float32) == taken


def test_the_parameters_are_as_many_as_the_config_says(model: GPT2):
    assert TINY.num_parameters == sum(weight.numel() for weight in model.parameters())


def test_fresh_weights_are_drawn_as_published_and_follow_the_seed():
    config = ModelConfig(n_layer=8, n_head=2, n_embd=64, n_vocab=400, n_ctx=64)
    one, same, other = GPT2(config), GPT2(config), GPT2(config)
    for fresh, seed in ((one, 1), (same, 1), (other, 2)):
        fresh.initialise(torch.Generator().manual_seed(seed))
    weights = dict(one.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in same.named_parameters())
    assert not torch.equal(other.wte.weight, one.wte.weight)
    for name, weight in weights.items():
        if name.endswith("bias"):
            assert weight.eq(0).all()
        elif "ln_" in name:
            assert weight.eq(1).all()
        else:
            expected = 0.02 / 4 if "c_proj" in name else 0.02  # 4 is the root of 2 * n_layer
            assert weight.std().item() == pytest.approx(expected, rel=0.05)
            assert weight.mean().item() == pytest.approx(0, abs=0.1 * expected)
