"""Free memory, by the kernel's word and within the limits of a container; what training takes."""

import ctypes
import gc
from pathlib import Path

import pytest
import torch

from engine.config import ModelConfig
from engine.memory import MIB, available_bytes
from engine.model import GPT2
from engine.train.distributed import World
from engine.train.footprint import footprint
from engine.train.optimisation import Optimisation
from tests.engine.models import CPU, random_ids

HUGE = 9223372036854771712


class Machine:
    """The files in which Linux tells what is free, with 1000 MiB of it."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {1000 * 1024} kB\n")

    def is_in(self, groups: str) -> None:
        (self.proc / "self" / "cgroup").write_text(groups)

    def limits(self, group: str, limit: object, *, usage_mib: int, cache_mib: int = 0) -> None:
        is_v1 = group.startswith("memory")
        folder = self.cgroups / group
        folder.mkdir(parents=True, exist_ok=True)
        names = ("limit_in_bytes", "usage_in_bytes") if is_v1 else ("max", "current")
        for name, value in zip(names, (limit, usage_mib * MIB), strict=True):
            (folder / f"memory.{name}").write_text(f"{value}\n")
        cache = "total_inactive_file" if is_v1 else "inactive_file"
        (folder / "memory.stat").write_text(f"anon 1\n{cache} {cache_mib * MIB}\n")

    @property
    def free_mib(self) -> int:
        return available_bytes(CPU, proc=self.proc, cgroups=self.cgroups) // MIB


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_limits_all_that_the_kernel_has_is_free(machine: Machine):
    assert machine.free_mib == 1000
    machine.is_in("0::/user.slice\n")
    machine.limits("user.slice", "max", usage_mib=900)
    assert machine.free_mib == 1000


def test_a_container_has_what_its_limit_leaves(machine: Machine):
    machine.is_in("0::/\n")
    machine.limits("", 500 * MIB, usage_mib=200, cache_mib=30)
    assert machine.free_mib == 330
    machine.limits("", 500 * MIB, usage_mib=600)
    assert machine.free_mib == 0


def test_the_tightest_limit_around_a_process_counts(machine: Machine):
    machine.is_in("0::/a/b\n")
    machine.limits("a/b", 900 * MIB, usage_mib=100)
    machine.limits("a", 700 * MIB, usage_mib=300)
    assert machine.free_mib == 400


@pytest.mark.parametrize("path", ["/docker/abc", "/"], ids=["of-the-host", "of-its-own"])
def test_the_older_kind_of_limit_counts_too(machine: Machine, path: str):
    machine.is_in(f"9:name=systemd:/\n4:cpu,memory:{path}\n3:cpuset:/\n0::/\n")
    machine.limits("memory", 300 * MIB, usage_mib=100)
    assert machine.free_mib == 200
    machine.limits("memory", HUGE, usage_mib=100)
    assert machine.free_mib == 1000


def test_a_machine_that_tells_nothing_has_the_memory_it_was_built_with(tmp_path: Path):
    nowhere = tmp_path / "gone"
    assert available_bytes(CPU, proc=nowhere, cgroups=nowhere) > 64 * MIB


def test_this_machine_tells_what_is_free():
    assert 64 * MIB < available_bytes(CPU) < 2**50


CONFIG = ModelConfig(n_layer=6, n_head=4, n_embd=256, n_vocab=4000, n_ctx=256)


def test_adapters_and_recomputing_each_need_less():
    def need(*, recomputes: bool = False, lora_rank: int | None = None) -> int:
        return footprint(
            CONFIG,
            rows=8,
            block_tokens=256,
            recomputes=recomputes,
            lora_rank=lora_rank,
            is_mixed=False,
        ).total

    assert need(recomputes=True, lora_rank=8) < min(need(recomputes=True), need(lora_rank=8))
    assert max(need(recomputes=True), need(lora_rank=8)) < need()


def resident_mib(key: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{key}:")[2].split()[0]) // 1024


def give_back_what_is_free() -> None:
    """Return to the kernel what earlier tests have freed: what is taken again would not be seen."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def train_in_memory(config: ModelConfig, rows: int) -> None:
    model = GPT2(config)
    model.initialise(torch.Generator().manual_seed(0))
    optimisation = Optimisation(model, World(CPU), weight_decay=0.1, max_grad_norm=1.0)
    ids = random_ids(rows, config.n_ctx + 1, n_vocab=config.n_vocab)
    # The second step has the optimizer's moments from the first.
    for _ in range(2):
        batch = [(row[:-1], row[1:]) for row in ids]
        optimisation.step([batch], num_targets=rows * config.n_ctx, learning_rate=1e-4)


def test_what_training_is_said_to_take_is_what_it_takes():
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        pytest.skip("the kernel keeps no resettable peak of a process's memory")
    give_back_what_is_free()
    train_in_memory(ModelConfig(n_layer=1, n_head=1, n_embd=8, n_vocab=8, n_ctx=8), 1)
    before = resident_mib("VmRSS")
    reset.write_text("5")
    config = ModelConfig(n_layer=2, n_head=4, n_embd=512, n_vocab=8000, n_ctx=128)
    train_in_memory(config, 4)
    measured = resident_mib("VmHWM") - before
    said = footprint(
        config, rows=4, block_tokens=128, recomputes=False, lora_rank=None, is_mixed=False
    )
    assert said.total / MIB / 1.5 < measured < said.total / MIB * 1.5
