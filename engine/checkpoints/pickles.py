"""Judges a pickle by its instructions before anything runs them. Knows the pickles of PyTorch.

`torch.load(weights_only=True)` calls nothing that a stranger names, yet a pickle can still be built
so that merely hashing or printing what it builds takes for ever, or overruns the C stack: a tuple
that holds the tuple before it twice, sixty times over. So the instructions are first followed
on paper, with nothing but the size of each object.

Source: the instructions and their effect on the stack are tabled in Python's `pickletools`.
"""

import pickletools
from collections.abc import Iterable
from typing import IO, NamedTuple

from engine.checkpoints.stored import DamagedError

PROTOCOL = 2
"""What `torch.save` writes unless told otherwise, and all that `torch.load` promises to read."""
MAX_STEPS = 100_000
"""The largest GPT-2 takes some 25,000."""
MAX_PARTS = 1_000_000
MAX_DEPTH = 32
MAKERS = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"}
FLOATS = ("Float", "Double", "Half", "BFloat16")
INTEGERS = ("Byte", "Bool", "Char", "Short", "Int", "Long")
STORAGES = {f"torch.{kind}Storage" for kind in (*FLOATS, *INTEGERS)}
TABLE = "collections.OrderedDict"
NAMES = {*MAKERS, *STORAGES, TABLE}
OPCODES = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
}


class _Object(NamedTuple):
    """What is known of an object: its size were all that it shares written out, and its use."""

    parts: int = 1
    depth: int = 1
    name: str = ""
    is_final: bool = False  # nothing can be put into it later, so its size is known for good


_MARK = _Object()
Step = tuple[pickletools.OpcodeInfo, object, int | None]


def check_pickle(file: IO[bytes]) -> None:
    """Follow one pickle to its end and judge what it would build; `file` is then behind it.

    Raises:
        DamagedError: it asks for anything but tensors and tables, or builds something immense.
        ValueError, LookupError: it is no pickle.
    """
    _follow(pickletools.genops(file))


def _follow(steps: Iterable[Step]) -> None:
    stack: list[_Object] = []
    memo: dict[object, _Object] = {}
    for step, (opcode, argument, _) in enumerate(steps):
        if step == MAX_STEPS:
            msg = f"its pickle goes on for more than {MAX_STEPS} instructions"
            raise DamagedError(msg)
        if opcode.name not in OPCODES or (opcode.name == "PROTO" and argument != PROTOCOL):
            said = opcode.name if argument is None else f"{opcode.name} {argument}"
            msg = f"its pickle uses {said}, which torch.save does not write"
            raise DamagedError(msg)
        if opcode.name in {"BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
            continue
        taken = _take(stack, opcode)
        if opcode.name in {"BINGET", "LONG_BINGET"}:
            if not memo[argument].is_final:
                msg = "its pickle uses one table or tuple in two places"
                raise DamagedError(msg)
            stack.append(memo[argument])
        elif opcode.stack_after:
            stack.append(_make(opcode, argument, taken))


def _take(stack: list[_Object], opcode: pickletools.OpcodeInfo) -> list[_Object]:
    taken: list[_Object] = []
    for wanted in reversed(opcode.stack_before):
        if wanted is pickletools.stackslice:
            while stack[-1] is not _MARK:
                taken.append(stack.pop())
        else:
            taken.append(stack.pop())
    return taken


def _make(opcode: pickletools.OpcodeInfo, argument: object, taken: list[_Object]) -> _Object:
    if opcode.name == "MARK":
        return _MARK
    name = ""
    if opcode.name == "GLOBAL":
        name = str(argument).replace(" ", ".")
        if name not in NAMES:
            msg = f"it asks for {name}, and only tensors are read"
            raise DamagedError(msg)
    called = taken[1].name if opcode.name == "REDUCE" else ""
    if opcode.name == "REDUCE" and called not in {*MAKERS, TABLE}:
        msg = "its pickle calls what is no function"
        raise DamagedError(msg)
    made = _Object(
        parts=1 + sum(part.parts for part in taken),
        depth=1 + max((part.depth for part in taken), default=0),
        name=name,
        is_final=called in MAKERS or not opcode.stack_before,
    )
    if made.parts > MAX_PARTS or made.depth > MAX_DEPTH:
        msg = "its pickle builds something nested without end"
        raise DamagedError(msg)
    return made
