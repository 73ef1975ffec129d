"""Reads what the queue's scripts answer. Owns no keys; knows Redis only as bytes and numbers."""

import codecs
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from wire.jobs import Job, outcome_adapter
from wire.records import Admission, Announced, Hint, JobRecord, JobState, QueueStats, Submitted

MAX_DIGITS = 20
"""Of the largest id that Discord can give."""


def read_record(answer: object) -> JobRecord | None:
    """Read a job's hash, names and values in turn, and its text; None where there is no job.

    Raises:
        ValueError: When a program of another wire version wrote the job, or somebody by hand.
    """
    flat, text = cast("tuple[list[bytes], bytes]", answer)
    fields = dict(zip(map(_text, flat[::2]), flat[1::2], strict=True))
    if "state" not in fields:
        return None

    def read(name: str) -> str:
        return _text(fields.get(name, b""))

    state = JobState(read("state"))
    outcome = outcome_adapter.validate_json(fields["outcome"]) if "outcome" in fields else None
    if state is JobState.ENDED and outcome is None:
        msg = "the job has ended, and nothing says how"
        raise ValueError(msg)
    # An append may have ended inside a character; its rest is still to come.
    whole = codecs.getincrementaldecoder("utf-8")("replace").decode(text)
    return JobRecord(
        job=Job.model_validate_json(fields.get("body", b"")),
        state=state,
        attempt=_number(read("attempt")),
        text=whole,
        engine=read("engine") or None,
        model_name=read("model") or None,
        cancel_requested=read("cancel") == "1",
        outcome=outcome,
        message_ids=_read_message_ids(read("messages")),
        is_adopted=read("adopted") == "1",
    )


def _read_message_ids(said: str) -> tuple[int, ...]:
    # The messages are looked for where these are not known.
    ids = tuple(_number(each) for each in said.split(","))
    return ids if all(ids) else ()


def read_submitted(answer: object) -> Submitted:
    """Read what became of a submitted job, and how many jobs and engines there are.

    >>> read_submitted([b"ok", 3, 1])
    Submitted(admission=<Admission.OK: 'ok'>, num_waiting=3, num_engines=1)
    """
    admission, num_waiting, num_engines = cast("tuple[bytes, int, int]", answer)
    return Submitted(Admission(admission.decode()), num_waiting, num_engines)


def read_hints(answer: object) -> list[Hint]:
    """Read entries of a bot's stream; one that nobody of ours wrote names no job.

    >>> fields = {b"job": b"m1.3", b"attempt": b"1", b"kind": b"started"}
    >>> read_hints([(b"bot:7", [(b"1-0", fields)])])
    [Hint(job_id='m1.3', attempt=1, kind='started', entry_id='1-0')]
    """
    streams = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", answer or [])
    return [_read_hint(entry_id, fields) for _, entries in streams for entry_id, fields in entries]


def _read_hint(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Hint:
    names = (b"job", b"attempt", b"kind")
    job_id, attempt, kind = (_text(fields.get(name, b"")) for name in names)
    return Hint(job_id, _number(attempt), kind, entry_id.decode())


def read_names(members: Collection[bytes]) -> tuple[frozenset[str], list[bytes]]:
    r"""Read names of jobs, and tell apart what can be none.

    >>> read_names([b"m1.3", b"\xff"])
    (frozenset({'m1.3'}), [b'\xff'])
    """
    nobodys = [each for each in members if "\ufffd" in _text(each)]
    return frozenset(map(_text, members)) - frozenset(map(_text, nobodys)), nobodys


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _number(said: str) -> int:
    """Read a whole number; 0 where something else stands, as the scripts do."""
    return int(said) if said.isascii() and said.isdigit() and len(said) <= MAX_DIGITS else 0


def read_stats(answer: object) -> QueueStats:
    """Read three counts, whether memory is full, then each live engine's name and models."""
    num_waiting, num_running, num_dead, is_full, *rest = cast("list[Any]", answer)
    offers = [_read_offer(each) for each in rest[1::2]]
    engines = {_text(name): each[0] for name, each in zip(rest[::2], offers, strict=True)}
    counts = (num_waiting, num_running, len(engines))
    return QueueStats(*counts, engines, _union_of(offers), num_dead, is_full=bool(is_full))


def read_models(answer: object) -> tuple[str, ...]:
    r"""Read what each engine offers, its default first, and make one list of all.

    >>> read_models([b"demo\nnotes", b"124M\ndemo\nessays", b"124M"])
    ('124M', 'demo', 'essays', 'notes')
    """
    return _union_of([_read_offer(each) for each in cast("list[bytes]", answer)])


def _read_offer(record: bytes) -> list[str]:
    return _text(record).split("\n")


def _union_of(offers: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Put what several engines offer into one line: defaults first, the most common at the head."""
    # An engine whose record was lost offers '' until its next claim.
    defaults = Counter(sorted(models[0] for models in offers if models[0]))
    others = {name for models in offers for name in models if name} - defaults.keys()
    return (*(name for name, _ in defaults.most_common()), *sorted(others))


def read_announced(answer: object) -> dict[str, Announced]:
    r"""Read engines and what each says of itself, in turn.

    >>> read_announced([b"e1", b"1f2e3d4c\n0.1.0"])
    {'e1': Announced(fingerprint='1f2e3d4c', version='0.1.0')}
    """
    flat = [_text(each) for each in cast("list[bytes]", answer)]
    said = [Announced(*each.partition("\n")[::2]) for each in flat[1::2]]
    return dict(zip(flat[::2], said, strict=True))
