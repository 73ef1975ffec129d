"""Adapters: they alone train, they alone are kept, and merged they are an ordinary model."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.errors import EngineError
from engine.model import GPT2
from engine.train.checkpoint import CHECKPOINT_NAME, Checkpoints
from engine.train.lora import Adapter
from engine.train.optimisation import trained_weights
from engine.weights import load_model, save_model
from tests.engine.models import CPU, make_model, random_ids
from tests.engine.training import DOCUMENTS, PARAMS, SMALL, corpus_of, losses_of

OFTEN = replace(PARAMS, learning_rate=1e-2, save_every_s=0.0)


def adapted(seed: int = 0) -> tuple[GPT2, Adapter]:
    model = make_model(SMALL).requires_grad_()
    return model, Adapter(model, rank=2, alpha=4, seed=seed)


def test_adapters_learn_alone_and_merge_into_an_ordinary_model(tmp_path: Path, vocabulary: Path):
    model, adapter = adapted()
    ids = random_ids(2, 9)
    with torch.no_grad():
        assert torch.equal(model(ids), make_model(SMALL)(ids)), "a new adapter adds something"
    trained = trained_weights(model)
    # Two matrices on each of four layers in each of two blocks.
    assert len(trained) == 2 * 4 * 2
    assert all("lora_" in name for name in trained)
    losses = losses_of(model, corpus_of(DOCUMENTS), replace(OFTEN, epochs=4.0), tmp_path)
    assert losses[max(losses)] < losses[1] - 0.5
    frozen = {
        name.replace("base_layer.", ""): weight
        for name, weight in model.named_parameters()
        if "lora_" not in name
    }
    for name, weight in make_model(SMALL).named_parameters():
        assert torch.equal(weight, frozen[name]), f"{name} moved"
    with torch.no_grad():
        expected = model(ids)
        adapter.merge()
        torch.testing.assert_close(model(ids), expected, atol=1e-4, rtol=1e-4)
    assert model.state_dict().keys() == make_model(SMALL).state_dict().keys()
    save_model(model, vocabulary, tmp_path / "merged", dtype=torch.float32)
    with torch.no_grad():
        loaded = load_model(tmp_path / "merged", device=CPU, dtype=torch.float32)
        torch.testing.assert_close(loaded(ids), expected, atol=1e-4, rtol=1e-4)


def test_a_run_with_adapters_goes_on_as_if_it_never_was_killed(tmp_path: Path):
    corpus = corpus_of(DOCUMENTS)
    expected = losses_of(adapted()[0], corpus, OFTEN, tmp_path / "a")
    first = losses_of(adapted()[0], corpus, OFTEN, tmp_path / "b", kill_at=6)
    # Another seed: what goes on is what was saved, and not what was drawn.
    second = losses_of(adapted(seed=1)[0], corpus, OFTEN, tmp_path / "b")
    assert list(first) == list(range(1, 6))
    assert first | second == expected


def test_a_checkpoint_keeps_the_adapters_and_not_the_model(tmp_path: Path):
    model, _ = adapted()
    losses_of(model, corpus_of(DOCUMENTS), OFTEN, tmp_path)
    state, _ = Checkpoints(tmp_path, "run").load() or ({}, None)
    assert state["weights"].keys() == trained_weights(model).keys()
    assert len(state["adamw"]["state"]) == len(state["weights"])
    assert (tmp_path / CHECKPOINT_NAME).stat().st_size < 4 * model.config.num_parameters


def test_the_seed_draws_the_adapters_and_disturbs_no_other_draw():
    models = [make_model(SMALL) for _ in range(3)]
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    for model, seed in zip(models, (1, 1, 2), strict=True):
        Adapter(model, rank=2, alpha=4, seed=seed)
    assert torch.equal(torch.rand(2), expected)
    weights = [trained_weights(model) for model in models]
    name = next(name for name in weights[0] if "lora_A" in name)
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_without_peft_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EngineError, match=r"pip install 'peft>=0\.17'"):
        adapted()
