"""Owns one optimisation step: gradients, clipping, AdamW, precision. Knows no text and no schedule.

Source: AdamW, Loshchilov & Hutter 2019; clipping, Pascanu et al. 2013; loss scaling for float16,
Micikevicius et al. 2018.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from engine.loading import pick_dtype
from engine.model import GPT2
from engine.train.data import Row, collate
from engine.train.distributed import World
from engine.train.loss import batch_nats


class Optimisation:
    """AdamW over the weights of a model that train.

    Args:
        model: float32, on its device. Weights that need no gradient stay as they are, and take no
            memory here.
        world: the processes whose gradients are summed.
        weight_decay: of matrices; biases and layer norms are not decayed.
        max_grad_norm: gradients together longer than this are scaled down to it.
    """

    def __init__(
        self, model: GPT2, world: World, *, weight_decay: float, max_grad_norm: float
    ) -> None:
        self._model = model
        self._world = world
        self._max_grad_norm = max_grad_norm
        self._weights = trained_weights(model)
        # Biases and layer norms have no scale to keep small.
        matrices = [weight for weight in self._weights.values() if weight.ndim == 2]
        vectors = [weight for weight in self._weights.values() if weight.ndim < 2]
        self._adamw = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            betas=(0.9, 0.95),
            fused=True,
        )
        device = model.wte.weight.device
        self._scaler = torch.amp.GradScaler(
            device.type, enabled=device.type == "cuda" and pick_dtype(device) == torch.float16
        )

    def step(
        self, batches: Iterable[list[Row]], *, num_targets: int, learning_rate: float
    ) -> Tensor:
        """Learn from the batches of one step together.

        Args:
            batches: this process's share; one after the other is computed.
            num_targets: tokens learnt in all batches of all processes. The mean is over these,
                however the step's blocks are cut into batches.
            learning_rate: above 0.

        Returns:
            This share's part of the mean loss in nats, a float64 scalar on the CPU.
        """
        self._model.train()
        total = torch.zeros((), dtype=torch.float64)
        for rows in batches:
            loss = batch_nats(self._model, *collate(rows)) / num_targets
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach().cpu()
        self._world.sum_gradients(self._weights.values())
        self._scaler.unscale_(self._adamw)
        torch.nn.utils.clip_grad_norm_(self._weights.values(), self._max_grad_norm)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._scaler.step(self._adamw)
        self._scaler.update()
        self._adamw.zero_grad(set_to_none=True)
        return total

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes: weights that train, moments, loss scale, generators."""
        generators = {"cpu": torch.get_rng_state()}
        if self._world.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self._world.device)
        return {
            "weights": {name: weight.detach() for name, weight in self._weights.items()},
            "adamw": self._adamw.state_dict(),
            "scaler": self._scaler.state_dict(),
            "generators": generators,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put a state back in place.

        Raises:
            KeyError, RuntimeError, ValueError: it is no such state, or of another model.
        """
        restore_weights(self._model, state["weights"])
        self._adamw.load_state_dict(state["adamw"])
        self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["generators"]["cpu"])
        if "cuda" in state["generators"] and self._world.device.type == "cuda":
            torch.cuda.set_rng_state(state["generators"]["cuda"], self._world.device)


def trained_weights(model: GPT2) -> dict[str, torch.nn.Parameter]:
    """Return the weights that need a gradient, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def restore_weights(model: GPT2, weights: dict[str, Tensor]) -> None:
    """Put the weights that train back in place.

    Raises:
        ValueError: they are not those of this model.
        RuntimeError: they have other shapes.
    """
    if weights.keys() != trained_weights(model).keys():
        msg = "it holds other weights than the model trains"
        raise ValueError(msg)
    model.load_state_dict(weights, strict=False)
