"""What only a CUDA device can show. `make test-gpu` runs it; elsewhere it is left out."""

from pathlib import Path

import pytest
import torch

from engine.config import ModelConfig
from engine.loading import load_engine
from engine.model import GPT2
from engine.noise import gumbel, seed_key
from engine.sampler import SampleRow, sample
from engine.watermark import find_mark, subkey_of
from engine.weights import save_model
from tests.end_to_end.stack import REPOSITORY
from tests.engine.marked import KEY
from wire.jobs import FinishReason, SamplingParams

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

DEMO = REPOSITORY / "models" / "demo"


def test_cuda_draws_the_same_noise_as_the_cpu() -> None:
    row_keys = [seed_key(seed, position) for seed in (0, 7) for position in (0, 9)]
    keys = torch.tensor(row_keys).repeat_interleave(1000)
    tokens = torch.arange(1000).repeat(len(row_keys))
    torch.testing.assert_close(gumbel(keys.cuda(), tokens.cuda()).cpu(), gumbel(keys, tokens))


def test_cuda_samples_the_same_ids_as_the_cpu_from_the_same_logits() -> None:
    logits = torch.randn(64, 8192, generator=torch.Generator().manual_seed(0))
    rows = [
        SampleRow(SamplingParams(seed=seed, top_k=k, top_p=p), seed_key(seed, 0))
        for seed, (k, p) in enumerate([(40, 1.0), (0, 0.9), (0, 1.0), (200, 0.5)] * 16)
    ]
    assert sample(logits.cuda(), rows).tolist() == sample(logits, rows).tolist()


def test_cuda_draws_the_marked_tokens_that_the_cpu_draws() -> None:
    logits = torch.randn(64, 8192, generator=torch.Generator().manual_seed(0))
    rows = [
        SampleRow(
            SamplingParams(seed=seed, top_k=40), KEY.row_key(subkey_of(seed), (seed, 2, 3, 4))
        )
        for seed in range(64)
    ]
    assert sample(logits.cuda(), rows).tolist() == sample(logits, rows).tolist()


def test_a_text_that_was_written_on_cuda_is_found_on_the_cpu() -> None:
    engine, _ = load_engine(
        DEMO, torch.device("cuda"), num_slots=2, prefill_tokens=64, max_waiting=2, watermark=KEY
    )
    sequences = [
        engine.add("The old lighthouse", SamplingParams(max_tokens=200, seed=seed))
        for seed in (1, 2)
    ]
    while engine.has_work:
        engine.step()
    for sequence in sequences:
        written = sequence.token_ids[-sequence.num_completion_tokens :]
        assert find_mark(written, KEY).p_value < 1e-6


def test_cuda_logits_are_those_of_the_cpu_up_to_the_precision_of_bfloat16() -> None:
    model = GPT2(ModelConfig(n_layer=4, n_head=4, n_embd=128, n_vocab=500))
    model.initialise(torch.Generator().manual_seed(0))
    ids = torch.randint(0, 500, (2, 64), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model.logits(model(ids))
        actual = model.cuda().bfloat16()(ids.cuda())
        actual = model.logits(actual).float().cpu()
    torch.testing.assert_close(actual, expected, atol=5e-2, rtol=5e-2)


def test_an_engine_on_cuda_serves_a_mixed_batch(tmp_path: Path) -> None:
    model = GPT2(ModelConfig(n_layer=4, n_head=4, n_embd=128, n_vocab=8192))
    model.initialise(torch.Generator().manual_seed(0))
    save_model(model, DEMO, tmp_path / "tiny", dtype=torch.float16)
    engine, _ = load_engine(
        tmp_path / "tiny", torch.device("cuda"), num_slots=4, prefill_tokens=64, max_waiting=8
    )
    sequences = [
        engine.add("word " * (1 + 40 * place), SamplingParams(max_tokens=20, seed=place))
        for place in range(6)
    ]
    while engine.has_work:
        engine.step()
    for sequence in sequences:
        whole = sequence.num_completion_tokens == 20
        assert sequence.finish_reason is (FinishReason.LENGTH if whole else FinishReason.STOP)
