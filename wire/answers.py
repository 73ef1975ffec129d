"""Reads what the queue's scripts answer. Owns no keys; knows Redis only as bytes and numbers."""

import codecs
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

from wire.jobs import Job, outcome_adapter
from wire.records import Hint, JobRecord, JobState, QueueStats


def read_record(flat: Sequence[bytes], text: bytes) -> JobRecord | None:
    """Read a job's hash, names and values in turn, and its text; None where there is no job.

    Raises:
        pydantic.ValidationError: When a program of another wire version wrote the job.
    """
    fields = dict(zip((name.decode() for name in flat[::2]), flat[1::2], strict=True))
    if "state" not in fields:
        return None

    def read(name: str) -> str:
        return fields.get(name, b"").decode()

    # An append may have ended inside a character; its rest is still to come.
    whole = codecs.getincrementaldecoder("utf-8")("replace").decode(text)
    return JobRecord(
        job=Job.model_validate_json(fields["body"]),
        state=JobState(read("state")),
        attempt=int(read("attempt")),
        text=whole,
        engine=read("engine") or None,
        model_name=read("model") or None,
        cancel_requested=read("cancel") == "1",
        outcome=outcome_adapter.validate_json(fields["outcome"]) if "outcome" in fields else None,
        message_ids=tuple(int(each) for each in read("messages").split(",") if each),
    )


def read_hint(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Hint:
    """Read one entry of a bot's stream."""
    job_id, attempt, kind = (fields[name].decode() for name in (b"job", b"attempt", b"kind"))
    return Hint(job_id, int(attempt), kind, entry_id.decode())


def read_stats(answer: Sequence[int | bytes]) -> QueueStats:
    """Read three counts, then each live engine's name and models."""
    num_waiting, num_running, num_dead = cast("Sequence[int]", answer[:3])
    rest = cast("Sequence[bytes]", answer[3:])
    offers = [read_models(each) for each in rest[1::2]]
    engines = {name.decode(): each[0] for name, each in zip(rest[::2], offers, strict=True)}
    models = union_of(offers)
    return QueueStats(num_waiting, num_running, len(engines), engines, models, num_dead)


def read_models(record: bytes) -> list[str]:
    r"""Read what one engine offers, its default first.

    >>> read_models(b"124M\nnotes")
    ['124M', 'notes']
    """
    return record.decode().split("\n")


def read_pairs(answer: object) -> dict[str, str]:
    """Read names and values in turn.

    >>> read_pairs([b"e1", b"1f2e3d4c", b"e2", b""])
    {'e1': '1f2e3d4c', 'e2': ''}
    """
    flat = [each.decode() for each in cast("list[bytes]", answer)]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def union_of(offers: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Put what several engines offer into one line: defaults first, the most common at the head.

    >>> union_of([["demo", "notes"], ["124M", "demo", "essays"], ["124M"]])
    ('124M', 'demo', 'essays', 'notes')
    """
    # An engine whose record was lost offers '' until its next claim.
    defaults = Counter(sorted(models[0] for models in offers if models[0]))
    others = {name for models in offers for name in models if name} - defaults.keys()
    return (*(name for name, _ in defaults.most_common()), *sorted(others))
