"""Owns the training loop: batches in, a model folder out. Knows no queue and no Discord.

Source: AdamW, Loshchilov & Hutter 2019; cosine schedule with warm-up and clipping as in
Radford et al. 2018, section 4.1.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch user knows
from torch import Tensor
from tqdm import tqdm

from engine.model import GPT2
from engine.train import checkpoint
from engine.train.checkpoint import Progress
from engine.train.data import Corpus, batch, block, num_blocks


@dataclass(frozen=True, slots=True)
class TrainingParams:
    """How to train.

    Attributes:
        epochs: passes over the training text.
        max_minutes: the schedule shrinks to end by then; None: no limit.
        batch_size: blocks in a batch.
        accumulate: batches in an optimisation step.
        block_tokens: tokens in a block, at most the model's context.
        save_every_s: seconds between checkpoints.
    """

    epochs: float = 2.0
    max_minutes: float | None = None
    batch_size: int = 4
    accumulate: int = 1
    block_tokens: int = 1024
    learning_rate: float = 3e-4
    warmup_steps: int = 50
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    seed: int = 0
    save_every_s: float = 120.0


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """How well unseen text is predicted."""

    nats_per_token: float
    bits_per_byte: float


def train(
    model: GPT2,
    corpus: Corpus,
    params: TrainingParams,
    *,
    checkpoints: Path,
    run: str,
    report: Callable[[int, float], None],
) -> HeldOutLoss:
    """Train in place, resuming where a stopped run left its checkpoint.

    Args:
        model: float32, on its device.
        corpus: what to train on and judge by.
        params: how.
        checkpoints: folder of the checkpoint. It stays at the end, so that a model that then
            cannot be saved is not trained again.
        run: names text and settings; a checkpoint of another run is refused.
        report: called with the step and its training loss (nats per token).

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    optimizer = _optimizer(model, params)
    progress = checkpoint.load(checkpoints, run, model, optimizer) or Progress()
    blocks_per_step = params.batch_size * params.accumulate
    num_all_blocks = params.epochs * num_blocks(corpus.train, params.block_tokens)
    total_steps = max(1, math.ceil(num_all_blocks / blocks_per_step))
    began_s, saved_s = time.monotonic() - progress.elapsed_s, time.monotonic()
    bar = tqdm(total=total_steps, initial=progress.step, unit="step", disable=None)
    while progress.step < total_steps:
        done = _share_done(progress, total_steps, params)
        if done >= 1.0:
            break
        rate = _learning_rate(progress.step, done, params)
        loss = _step(model, optimizer, corpus.train, progress.step, rate, params)
        progress.step += 1
        progress.elapsed_s = time.monotonic() - began_s
        report(progress.step, loss)
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update()
        if time.monotonic() - saved_s > params.save_every_s:
            checkpoint.save(checkpoints, run, model, optimizer, progress)
            saved_s = time.monotonic()
    bar.close()
    checkpoint.save(checkpoints, run, model, optimizer, progress)
    return evaluate(model, corpus, params.block_tokens)


@torch.no_grad()
def evaluate(model: GPT2, corpus: Corpus, block_tokens: int) -> HeldOutLoss:
    """Measure the loss on the held-out documents, block by block."""
    model.eval()
    device = model.wte.weight.device
    nats = 0.0
    for index in range(num_blocks(corpus.held_out, block_tokens)):
        inputs, targets = block(corpus.held_out, index, block_tokens)
        logits = model.logits(model(inputs[None].to(device)))  # (1, T, V)
        nats += F.cross_entropy(logits[0].float(), targets.to(device), reduction="sum").item()
    return HeldOutLoss(
        nats_per_token=nats / (len(corpus.held_out) - 1),
        bits_per_byte=nats / math.log(2) / corpus.held_out_bytes,
    )


def _optimizer(model: GPT2, params: TrainingParams) -> torch.optim.AdamW:
    # Biases and layer norms are not decayed: they have no scale to keep small.
    matrices = [weight for weight in model.parameters() if weight.ndim == 2]
    vectors = [weight for weight in model.parameters() if weight.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": params.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=params.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )


def _share_done(progress: Progress, total_steps: int, params: TrainingParams) -> float:
    share = progress.step / total_steps
    if params.max_minutes is None:
        return share
    return max(share, progress.elapsed_s / (60 * params.max_minutes))


def _learning_rate(step: int, share_done: float, params: TrainingParams) -> float:
    warm = min(1.0, (step + 1) / max(1, params.warmup_steps))
    return params.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share_done)))


def _step(
    model: GPT2,
    optimizer: torch.optim.AdamW,
    stream: Tensor,
    step: int,
    learning_rate: float,
    params: TrainingParams,
) -> float:
    model.train()
    device = model.wte.weight.device
    batches = []
    for micro in range(params.accumulate):
        index = step * params.accumulate + micro
        batches.append(
            batch(
                stream,
                index,
                batch_size=params.batch_size,
                block_tokens=params.block_tokens,
                seed=params.seed,
            )
        )
    # The mean is over all tokens of the step, however its blocks are cut into batches.
    num_targets = sum(int((targets != -100).sum()) for _, targets in batches)
    total = 0.0
    for inputs, targets in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model.logits(model(inputs.to(device)))  # (B, T, V)
        flat = logits.float().flatten(0, 1)
        loss = F.cross_entropy(flat, targets.to(device).flatten(), reduction="sum") / num_targets
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), params.max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total
