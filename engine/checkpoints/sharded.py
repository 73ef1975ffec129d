"""Reads a checkpoint that an index spreads over several files. Knows no format of those."""

from collections.abc import Callable, Set
from pathlib import Path, PurePosixPath, PureWindowsPath

from engine.checkpoints.stored import DamagedError, StoredTensors, read_json_table, reading


def read_sharded(index: Path, read_shard: Callable[[Path], StoredTensors]) -> StoredTensors:
    """Describe the tensors of all files that `index` names, as `save_pretrained` writes it.

    The files have to lie beside the index, and hold exactly what it says they do.

    Raises:
        ModelError: a file is missing or damaged, or does not hold what the index says.
    """
    with reading(index):
        shard_of = _weight_map(index)
    listed: dict[str, set[str]] = {}
    for name, shard in shard_of.items():
        listed.setdefault(shard, set()).add(name)
    tensors: StoredTensors = {}
    for shard in sorted(listed):
        held = read_shard(index.parent / shard)
        with reading(index):
            _check_agreement(shard, held.keys(), listed[shard])
        tensors |= held
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    shard_of = read_json_table(index).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        msg = "it has no table weight_map"
        raise DamagedError(msg)
    for name, shard in shard_of.items():
        if not isinstance(shard, str) or not _is_plain_name(shard):
            msg = f"it says that {name} is in {shard!r:.80}, which is no file beside it"
            raise DamagedError(msg)
    return shard_of


def _is_plain_name(shard: str) -> bool:
    named_alone = PurePosixPath(shard).name == shard == PureWindowsPath(shard).name
    return named_alone and shard not in {"", ".."} and shard.isprintable() and len(shard) < 256


def _check_agreement(shard: str, held: Set[str], listed: Set[str]) -> None:
    for name in sorted(listed - held):
        msg = f"it says that {name} is in {shard}, which does not hold it"
        raise DamagedError(msg)
    for name in sorted(held - listed):
        msg = f"it does not list {name}, which {shard} holds"
        raise DamagedError(msg)
