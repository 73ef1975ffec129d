"""Reads what the queue's scripts answer. Owns no keys; knows Redis only as bytes and numbers."""

import codecs
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import cast

from wire.jobs import Job, outcome_adapter
from wire.records import Announced, Hint, JobRecord, JobState, QueueStats

MAX_DIGITS = 20
"""Of the largest id that Discord can give."""


def read_record(flat: Sequence[bytes], text: bytes) -> JobRecord | None:
    """Read a job's hash, names and values in turn, and its text; None where there is no job.

    Raises:
        ValueError: When a program of another wire version wrote the job, or somebody by hand.
    """
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
    )


def _read_message_ids(said: str) -> tuple[int, ...]:
    # The messages are looked for where these are not known.
    ids = tuple(_number(each) for each in said.split(","))
    return ids if all(ids) else ()


def read_hint(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Hint:
    """Read one entry of a bot's stream; one that nobody of ours wrote names no job.

    >>> read_hint(b"1-0", {b"job": b"m1.3", b"attempt": b"1", b"kind": b"started"})
    Hint(job_id='m1.3', attempt=1, kind='started', entry_id='1-0')
    """
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


def read_stats(answer: Sequence[int | bytes]) -> QueueStats:
    """Read three counts, whether memory is full, then each live engine's name and models."""
    num_waiting, num_running, num_dead, is_full = cast("Sequence[int]", answer[:4])
    rest = cast("Sequence[bytes]", answer[4:])
    offers = [read_models(each) for each in rest[1::2]]
    engines = {_text(name): each[0] for name, each in zip(rest[::2], offers, strict=True)}
    models = union_of(offers)
    counts = (num_waiting, num_running, len(engines))
    return QueueStats(*counts, engines, models, num_dead, is_full=bool(is_full))


def read_models(record: bytes) -> list[str]:
    r"""Read what one engine offers, its default first.

    >>> read_models(b"124M\nnotes")
    ['124M', 'notes']
    """
    return _text(record).split("\n")


def read_announced(answer: object) -> dict[str, Announced]:
    r"""Read engines and what each says of itself, in turn.

    >>> read_announced([b"e1", b"1f2e3d4c\n0.1.0"])
    {'e1': Announced(fingerprint='1f2e3d4c', version='0.1.0')}
    """
    flat = [_text(each) for each in cast("list[bytes]", answer)]
    said = [Announced(*each.partition("\n")[::2]) for each in flat[1::2]]
    return dict(zip(flat[::2], said, strict=True))


def union_of(offers: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Put what several engines offer into one line: defaults first, the most common at the head.

    >>> union_of([["demo", "notes"], ["124M", "demo", "essays"], ["124M"]])
    ('124M', 'demo', 'essays', 'notes')
    """
    # An engine whose record was lost offers '' until its next claim.
    defaults = Counter(sorted(models[0] for models in offers if models[0]))
    others = {name for models in offers for name in models if name} - defaults.keys()
    return (*(name for name, _ in defaults.most_common()), *sorted(others))
