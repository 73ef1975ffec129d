"""Owns how the processes that `torchrun` starts on one machine work as one. Knows no training.

Every process holds the whole model and computes its share of each step's rows; gradients are summed
over all of them before the step. That is all-reduce in a few lines: torch's DistributedDataParallel
would hide the same sum behind hooks, which see neither accumulated batches nor a loss computed
outside `forward` without more code than it saves.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

# The first step of an optimizer imports it too, and then its default arguments would hold the
# group for ever: with the group would stay threads, which abort a process that ends under them.
import torch.distributed.nn
from torch import Tensor

from engine.errors import EngineError

T = TypeVar("T")
PATIENCE = timedelta(hours=2)
"""How long a process waits for the first one to read and encode the text."""


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among those that train together; by default it is alone.

    Attributes:
        device: where this process computes.
        rank: 0…size - 1.
        size: number of processes.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Return whether this process is the one that writes and speaks."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; each must call this alike."""
        if self.size == 1:
            return tensor
        there = tensor.to(self.device)
        with _loss_of_others_told():
            dist.all_reduce(there)
        return there.to(tensor.device)

    def sum_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Replace each weight's gradient by the sum over all processes."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        with _loss_of_others_told():
            sums = [dist.all_reduce(gradient, async_op=True) for gradient in gradients]
            for pending in sums:
                if pending is not None:
                    pending.wait()

    def from_first(self, make: Callable[[], T]) -> T:
        """Make something in the first process alone and give it to all."""
        if self.size == 1:
            return make()
        held = [make() if self.is_first else None]
        with _loss_of_others_told():
            dist.broadcast_object_list(held, src=0, device=self.device)
        made = held[0]
        assert made is not None
        return made

    def wait_for_all(self) -> None:
        """Return once every process has come here."""
        self.sum(torch.zeros(()))


@contextmanager
def join_world(device: torch.device) -> Iterator[World]:
    """Take this process's place among those of `torchrun`; without it, there is one.

    Args:
        device: the kind of device to train on; with CUDA each process takes the one of its number.

    Raises:
        EngineError: there are more processes than CUDA devices.
    """
    if not dist.is_torchelastic_launched():
        yield World(device)
        return
    if device.type == "cuda":
        number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= count:
            msg = f"torchrun started more processes than there are CUDA devices ({count})"
            raise EngineError(msg)
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


@contextmanager
def _loss_of_others_told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # What the transports raise when a peer goes away runs over many lines.
        reason = str(error).splitlines()[0]
        msg = f"another process of this run was lost ({reason})"
        raise EngineError(msg) from error
