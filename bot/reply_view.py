"""A job's record, as what its reply must look like now. Pure; knows neither Redis nor Discord."""

from dataclasses import dataclass

from bot import replies
from bot.button import Button, details_button, stop_button
from bot.label import label
from bot.origin import Origin
from bot.render import render
from bot.verify_words import verify_words
from wire.details import Details
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
    button: Button | None
    """Under the last part."""
    is_final: bool
    has_news: bool
    """Whether it says more than that the reply is on its way."""


def view_of(
    record: JobRecord, origin: Origin, *, place: int | None, num_engines: int, note: str = ""
) -> View:
    """Lay out a job's record.

    Args:
        record: As read from the queue.
        origin: Where the reply belongs.
        place: 1 is next in line; None when it does not wait.
        num_engines: Live engines.
        note: The operator's line below the label.
    """
    if record.job.kind == "verify":
        said = verify_words(record, origin, place=place, num_engines=num_engines)
        return _sentence(said, is_final=record.outcome is not None)
    if isinstance(record.outcome, Failed) and not record.text:
        return _sentence(replies.error_sentence(record.outcome))
    is_running = record.state is JobState.RUNNING
    line = label(record.model_name, origin.locale, note)
    return View(
        parts=render(
            record.text,
            line,
            introduction=_introduction(record, origin),
            notice=_notice(record, place, num_engines),
            is_running=is_running,
        ),
        filler=render("", line, is_running=True)[0],
        button=_button(record, origin),
        is_final=record.outcome is not None,
        has_news=bool(record.text) or record.outcome is not None,
    )


def view_of_forgotten(last: JobRecord | None, origin: Origin, note: str = "") -> View:
    """Lay out the end of a job that Redis has lost: what was written, and a word to ask again."""
    if last is None or not last.text:
        return _sentence(replies.FORGOTTEN)
    parts = render(
        last.text,
        label(last.model_name, origin.locale, note),
        introduction=_introduction(last, origin),
        notice=replies.FORGOTTEN,
    )
    return View(parts, filler="", button=None, is_final=True, has_news=True)


def _sentence(sentence: str, *, is_final: bool = True) -> View:
    """Show a sentence of the bot's own. It holds no model text, so it carries no label."""
    return View((sentence,), filler="", button=None, is_final=is_final, has_news=is_final)


def _button(record: JobRecord, origin: Origin) -> Button | None:
    match record.outcome:
        case None if not record.cancel_requested:
            return stop_button(record.job.job_id, origin.asker_id)
        case Done() if record.text:
            details = Details.of(record.outcome, record.job.params)
            return details_button(details) if details else None
        case _:
            return None


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
