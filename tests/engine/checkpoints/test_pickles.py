"""Pickles that no torch.save wrote: each is refused before an instruction of it is carried out."""

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoints.pickles import check_pickle
from engine.checkpoints.stored import DamagedError


def check(pickled: bytes) -> None:
    check_pickle(io.BytesIO(pickled))


class Evil:
    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (os.system, r"posix\.system"),
        (eval, r"__builtin__\.eval"),
        (bytearray, r"__builtin__\.bytearray"),
        (torch.load, r"torch\.serialization\.load"),
        (torch.zeros, r"__builtin__\.getattr"),  # a builtin of a class is fetched by name
        (getattr, r"__builtin__\.getattr"),
    ],
)
def test_a_function_that_makes_no_tensor_is_not_called(
    tmp_path: Path, function: Callable[..., Any], said: str
):
    trace = tmp_path / "ran"
    pickled = pickle.dumps({"wte.weight": Evil(function, f"touch {trace}")}, protocol=2)
    with pytest.raises(DamagedError, match=f"it asks for {said}, and only tensors are read"):
        check(pickled)
    assert not trace.exists()


def test_a_tuple_that_doubles_sixty_times_is_refused_in_no_time():
    # Its hash alone would take 2**60 steps, and a key of a table is hashed.
    bomb = b"\x80\x02}N\x85q\x00" + b"".join(
        b"h" + bytes([step]) + b"h" + bytes([step]) + b"\x86q" + bytes([step + 1])
        for step in range(60)
    )
    with pytest.raises(DamagedError, match="uses one table or tuple in two places"):
        check(bomb + b"Ns.")


def test_a_tuple_in_a_tuple_in_a_tuple_is_refused():
    # Hashing it would overrun the C stack.
    with pytest.raises(DamagedError, match="nested without end"):
        check(b"\x80\x02}" + b")" + b"\x85" * 10**6 + b"Ns.")


def test_a_pickle_that_goes_on_and_on_is_refused():
    with pytest.raises(DamagedError, match="goes on for more than 100000 instructions"):
        check(b"\x80\x02](" + b"N" * 10**7 + b"e.")


def test_a_tensor_that_is_named_too_often_is_refused():
    # Each reference is short, and what a table of tables of it writes out is not.
    monstrous = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + b"N" * 100 + b"tRq\x00]("
    with pytest.raises(DamagedError, match="nested without end"):
        check(monstrous + b"h\x00" * 10**4 + b"e.")


@pytest.mark.parametrize(
    "called", [b"N", b"]", b"ctorch\nFloatStorage\n", b"K\x05", b"ccollections\nOrderedDict\n)R"]
)
def test_only_what_makes_tensors_and_tables_is_called(called: bytes):
    with pytest.raises(DamagedError, match="its pickle calls what is no function"):
        check(b"\x80\x02" + called + b")R.")


@pytest.mark.parametrize("protocol", [0, 3, 4, 5])
def test_another_protocol_is_refused_by_name(protocol: int):
    with pytest.raises(DamagedError, match=r"its pickle uses .*, which torch\.save does not"):
        check(pickle.dumps({"a": OrderedDict(b=(1.5, None))}, protocol=protocol))


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02s.",
        b"\x80\x02e.",
        b"\x80\x02h\x05.",
        b"\x80\x02q\x00.",
        b"hello",
    ],
    ids=repr,
)
def test_a_broken_pickle_is_refused_as_such(pickled: bytes):
    with pytest.raises((ValueError, LookupError)):
        check(pickled)


def test_what_torch_save_writes_passes():
    tensor = torch.zeros(2, 3)
    state = torch.nn.Linear(3, 2).state_dict()
    state |= {"again": tensor, "and again": tensor, "head": torch.nn.Parameter(tensor)}
    state |= {"mask": torch.ones(2, dtype=torch.bool), "half": tensor.half()}
    written = io.BytesIO()
    torch.save(state, written, _use_new_zipfile_serialization=False)
    written.seek(0)
    for _ in range(5):
        check_pickle(written)
