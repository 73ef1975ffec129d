"""A job's record, as what its reply must look like now. Pure; knows neither Redis nor Discord."""

from dataclasses import dataclass

from bot import replies
from bot.label import label
from bot.origin import Origin
from bot.render import render
from wire.jobs import Done, Failed, FinishReason
from wire.queue import JobRecord, JobState
from wire.verdicts import Verified


@dataclass(frozen=True, slots=True)
class View:
    """What a reply must look like."""

    parts: tuple[str, ...]
    """Message contents, at least one."""
    filler: str
    """The content of messages past the last part, as long as the reply may still grow."""
    has_stop_button: bool
    is_final: bool
    has_news: bool
    """Whether it says more than that the reply is on its way."""


def view_of(record: JobRecord, origin: Origin, *, place: int | None, num_engines: int) -> View:
    """Lay out a job's record.

    Args:
        record: As read from the queue.
        origin: Where the reply belongs.
        place: 1 is next in line; None when it does not wait.
        num_engines: Live engines.
    """
    if isinstance(record.outcome, Verified):
        return _sentence(_notice(record, None, 0))
    if isinstance(record.outcome, Failed) and not record.text:
        return _sentence(replies.error_sentence(record.outcome))
    is_running = record.state is JobState.RUNNING
    line = label(record.model_name, origin.locale)
    return View(
        parts=render(
            record.text,
            line,
            introduction=_introduction(record, origin),
            notice=_notice(record, place, num_engines),
            is_running=is_running,
        ),
        filler=render("", line, is_running=True)[0],
        has_stop_button=record.outcome is None and not record.cancel_requested,
        is_final=record.outcome is not None,
        has_news=bool(record.text) or record.outcome is not None,
    )


def view_of_forgotten(last: JobRecord | None, origin: Origin) -> View:
    """Lay out the end of a job that Redis has lost: what was written, and a word to ask again."""
    if last is None or not last.text:
        return _sentence(replies.FORGOTTEN)
    parts = render(
        last.text,
        label(last.model_name, origin.locale),
        introduction=_introduction(last, origin),
        notice=replies.FORGOTTEN,
    )
    return View(parts, filler="", has_stop_button=False, is_final=True, has_news=True)


def _sentence(sentence: str) -> View:
    """Show a sentence of the bot's own. It holds no model text, so it carries no label."""
    return View((sentence,), filler="", has_stop_button=False, is_final=True, has_news=True)


def _introduction(record: JobRecord, origin: Origin) -> str:
    """Quote the prompt where the asking itself is not to be seen: in answers to slash commands."""
    if origin.kind == "message":
        return ""
    return replies.asked_by(origin.asker_name, record.job.prompt)


def _notice(record: JobRecord, place: int | None, num_engines: int) -> str:
    match record.outcome:
        case Failed():
            return replies.error_sentence(record.outcome)
        case Done(finish_reason=FinishReason.CANCELLED):
            return replies.STOPPED
        case Done():
            return "" if record.text else replies.WROTE_NOTHING
        case Verified():
            return record.outcome.sentence()
        case None:
            return _notice_while_open(record, place, num_engines)


def _notice_while_open(record: JobRecord, place: int | None, num_engines: int) -> str:
    if record.state is JobState.RUNNING:
        return ""
    if record.attempt > 0 and num_engines > 0:
        return replies.RETRYING
    return replies.waiting(place, num_engines, record.job.deadline_unix_ms)
