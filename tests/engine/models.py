"""Models so small that a test can afford them, with random numbers everywhere."""

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.model import GPT2
from tests.engine.support import N_VOCAB

TINY = ModelConfig(n_layer=2, n_head=2, n_embd=32, n_vocab=N_VOCAB, n_ctx=64)
OTHER = ModelConfig(n_layer=3, n_head=4, n_embd=48, n_vocab=301, n_ctx=33, layer_norm_epsilon=1e-6)
CPU = torch.device("cpu")


def make_model(config: ModelConfig = TINY, *, seed: int = 0) -> GPT2:
    """Also the biases are random, and the layer norms: fresh ones would hide a mix-up."""
    model = GPT2(config).requires_grad_(requires_grad=False).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        mean = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
        weight.normal_(mean, 0.2, generator=generator)
    return model


def random_ids(rows: int, tokens: int, *, n_vocab: int = N_VOCAB, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(n_vocab, (rows, tokens), generator=generator)
