"""One optimisation step: the same as the reference's, however its memory is saved."""

from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from engine.model import GPT2
from engine.train.data import MASKED, Row
from engine.train.distributed import World
from engine.train.loss import batch_nats
from engine.train.optimisation import Optimisation
from engine.weights import CONV1D, PREFIX
from tests.engine.models import CPU, make_model, random_ids
from tests.engine.training import SMALL

RATE, DECAY, CLIP = 1e-3, 0.1, 0.5


def double_model() -> GPT2:
    """In float64, where a rounding error is no excuse."""
    return make_model(SMALL).double().requires_grad_()


def rows_of_a_step() -> list[Row]:
    """Six rows of three lengths; in some a prompt is masked."""
    rows = []
    for place, (ids, length) in enumerate(
        zip(random_ids(6, 17), (16, 16, 9, 16, 12, 16), strict=True)
    ):
        targets = ids[1 : length + 1].clone()
        targets[: 2 * place] = MASKED
        rows.append((ids[:length], targets))
    return rows


def num_targets(rows: list[Row]) -> int:
    return sum(int((targets != MASKED).sum()) for _, targets in rows)


def take_steps(model: GPT2, batch_size: int, *, num_steps: int = 1) -> list[float]:
    optimisation = Optimisation(model, World(CPU), weight_decay=DECAY, max_grad_norm=CLIP)
    rows = rows_of_a_step()
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [
        float(optimisation.step(batches, num_targets=num_targets(rows), learning_rate=RATE))
        for _ in range(num_steps)
    ]


def their_steps(transformers: ModuleType, *, num_steps: int) -> tuple[Any, list[float]]:
    """The same steps by `GPT2LMHeadModel` and `torch.optim.AdamW`, all rows in one batch."""
    ours = double_model()
    config = transformers.GPT2Config(
        **ours.config.to_hugging_face(), resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    theirs = transformers.GPT2LMHeadModel(config).double().train()
    state = {
        PREFIX + name: weight.t() if name.endswith(CONV1D) else weight
        for name, weight in ours.state_dict().items()
    }
    theirs.load_state_dict(state, strict=False)
    decayed = [weight for weight in theirs.parameters() if weight.ndim == 2]
    others = [weight for weight in theirs.parameters() if weight.ndim == 1]
    adamw = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=RATE,
        betas=(0.9, 0.95),
    )
    rows = rows_of_a_step()
    ids = torch.zeros(len(rows), 17, dtype=torch.long)
    labels = torch.full((len(rows), 17), MASKED)
    for place, (inputs, targets) in enumerate(rows):
        ids[place, : len(inputs)] = inputs
        labels[place, 1 : len(targets) + 1] = targets
    losses = []
    for _ in range(num_steps):
        # Not by their own loss, which rounds the logits to float32 first.
        logits = theirs(input_ids=ids).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), CLIP)
        adamw.step()
        adamw.zero_grad()
        losses.append(loss.item())
    return theirs, losses


@pytest.mark.parametrize("batch_size", [6, 2], ids=["one-batch", "accumulated"])
def test_a_step_is_that_of_transformers_with_adamw(transformers: ModuleType, batch_size: int):
    theirs, expected = their_steps(transformers, num_steps=2)
    before, model = double_model(), double_model()
    losses = take_steps(model, batch_size, num_steps=2)
    assert losses == pytest.approx(expected, rel=1e-9)
    weights = dict(theirs.named_parameters())
    for (name, weight), old in zip(model.named_parameters(), before.parameters(), strict=True):
        other = weights[PREFIX + name]
        torch.testing.assert_close(
            weight, other.t() if name.endswith(CONV1D) else other, atol=1e-9, rtol=1e-9
        )
        assert (weight - old).abs().max() > RATE / 2


def gradients_of(model: GPT2, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    batch_nats(model, inputs, targets).backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def test_what_is_computed_again_gives_the_same_gradients():
    ids = random_ids(3, 17)
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    targets[0, 5:] = MASKED
    plain, saving = make_model(SMALL).requires_grad_(), make_model(SMALL).requires_grad_()
    saving.recomputes = True
    passes = []
    saving.h[0].register_forward_pre_hook(lambda *_: passes.append("h"))
    saving.ln_f.register_forward_pre_hook(lambda *_: passes.append("ln_f"))
    expected = gradients_of(plain, inputs, targets)
    gradients = gradients_of(saving, inputs, targets)
    assert passes == ["h", "ln_f", "h"], "the block was not computed a second time"
    assert len(gradients) == len(expected) == len(list(plain.parameters()))
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_model_that_recomputes_answers_as_any_other():
    model, saving = make_model(), make_model()
    saving.recomputes = True
    ids = random_ids(2, 9)
    with torch.no_grad():
        assert torch.equal(saving(ids), model(ids))
