"""Measures decode speed: tokens per second of the whole engine at 1 and 8 users."""

import random
import statistics
import time
from pathlib import Path

import torch

from codec.bpe import Tokenizer
from engine.config import ModelConfig
from engine.llm_engine import LLMEngine
from engine.loading import load_engine, pick_device, pick_dtype
from engine.model import GPT2
from engine.model_runner import TorchModelRunner
from engine.scheduler import Scheduler
from wire.jobs import SamplingParams

DEMO = Path("models/demo")
PROMPT_TOKENS = 64
NEW_TOKENS = 128
ROUNDS = 3
USERS = (1, 8)


def measure() -> None:
    """Print tokens per second of the demo model and of a 124M shape with random weights."""
    device = pick_device("auto")
    threads = torch.get_num_threads()
    print(f"engine on {device.type}, {threads} threads, {PROMPT_TOKENS} + {NEW_TOKENS} tokens")
    demo, name = load_engine(DEMO, device, num_slots=8, prefill_tokens=512, max_waiting=8)
    for label, engine in ((name, demo), ("random 124M shape", _random_124m(device))):
        for users in USERS:
            rates = sorted(_rate(engine, users) for _ in range(ROUNDS))
            spread = f"{rates[0]:.0f}…{rates[-1]:.0f}"
            print(f"  {label}, {users} users: {statistics.median(rates):.0f} tokens/s ({spread})")


def _rate(engine: LLMEngine, users: int) -> float:
    rng = random.Random(users)
    for user in range(users):
        words = (rng.choice(("the", "old", "town", "sea", "light")) for _ in range(PROMPT_TOKENS))
        # A stop by end-of-text would end a run early; greedy text does not reach it here.
        engine.add(" ".join(words), SamplingParams(max_tokens=NEW_TOKENS, seed=user))
    tokens, began_s = 0, time.perf_counter()
    while engine.has_work:
        tokens += len(engine.step())
    return tokens / (time.perf_counter() - began_s)


def _random_124m(device: torch.device) -> LLMEngine:
    config = ModelConfig(n_layer=12, n_head=12, n_embd=768, n_vocab=50257)
    model = GPT2(config)
    model.initialise(torch.Generator().manual_seed(0))
    model = model.to(device, pick_dtype(device)).requires_grad_(requires_grad=False)
    tokenizer = Tokenizer.from_folder(DEMO)
    runner = TorchModelRunner(model, num_slots=8, n_vocab=tokenizer.n_vocab)
    scheduler = Scheduler(num_slots=8, prefill_tokens=512, max_waiting=8, eot=tokenizer.eot)
    return LLMEngine(runner, scheduler, tokenizer, n_ctx=config.n_ctx)
