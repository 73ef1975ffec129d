"""What became of everything: the count, and all that must not be. Changes nothing.

Told to ask again may only be who had no end when Redis lost something; stopped, whose Stop was
pressed; refused, with a sentence that a fault of that time or the bounds explain; failed, whose job
was lost with three engines, or whose verification no engine came for within its minute.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot import replies
from sandbox.model import Interaction, Message
from tests.end_to_end.stack import WATERMARK_KEY
from tests.faults.account import NEVER, Ask, Fate
from tests.soak import logs
from tests.soak.crowd import Crowd
from tests.soak.redis import PASSWORD
from tests.soak.stage import MAX_UNFINISHED, Stage
from tests.wire.support import leftovers
from wire.jobs import ErrorCode, Failed, Job
from wire.keys import MAX_ATTEMPTS
from wire.queue import JobRecord

REFUSALS = (
    replies.REDIS_AWAY,
    replies.REDIS_FULL,
    replies.NO_ENGINE_TO_VERIFY,
    replies.you_have_enough(MAX_UNFINISHED),
    replies.line_is_full(2).partition(":")[0],
    replies.no_such_model(()).rstrip("."),
)

WITHOUT_REDIS = (
    *("redis_killed", "redis_frozen", "redis_down_for_long", "redis_cut", "redis_emptied"),
    "wire_lossy",
)
EXPLAINED_BY = {replies.REDIS_AWAY: WITHOUT_REDIS, replies.REDIS_FULL: ("memory_full",)}
"""The faults without which nobody may be told so."""
AFTER_EFFECTS_S = 5.0
"""For so long a program may take Redis for away that is there again."""

Spells = Sequence[tuple[str, float, float]]


@dataclass(slots=True)
class Report:
    """The figures of a soak, and everything that is wrong.

    Attributes:
        fates: how many questions had which fate.
        faults: how often each kind struck.
        figures: further figures, by name.
        wrong: what must not be, a line for each.
    """

    fates: Counter[Fate] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


async def judge(stage: Stage, crowd: Crowd, spells: Spells, report: Report) -> None:
    """Count, and note what is wrong; `spells` tells which faults lasted from when to when."""
    for ask in stage.account.asks:
        fate = await stage.account.fate(ask)
        report.fates[fate] += 1
        why = _wrong(stage, crowd, spells, ask, fate)
        if why is not None:
            report.wrong.append(f"{why}: {await stage.account.describe(ask)}")
    _count_more(stage, report)
    num_silent = sum(not press.answered for press in stage.presses)
    report.figures["buttons pressed"] = len(stage.presses)
    report.figures["presses without an answer"] = num_silent
    if num_silent:
        report.wrong.append(f"{num_silent} presses of a button had no answer")
    strays = stage.account.strays()
    report.figures["said to nobody"] = len(strays)
    report.wrong += [f"said to nobody: {message.content[:80]!r}" for message in strays]
    left = await leftovers(stage.stack.redis)
    report.figures["keys left in Redis"] = len(left)
    report.wrong += [f"the key {key} is left in Redis" for key in left]


def _count_more(stage: Stage, report: Report) -> None:
    """Count what is no fault and yet of interest: sentences of refusals, and attempts."""
    account = stage.account
    shown = (account.messages(ask) for ask in account.asks)
    sentences = Counter(each[0].content for each in shown if len(each) == 1)
    for sentence in REFUSALS:
        number = sum(sentences[each] for each in sentences if each.startswith(sentence))
        if number:
            report.figures[f"  refused: {sentence[3:40]}…"] = number
    attempts = Counter(record.attempt for ask in account.asks if (record := account.known(ask)))
    report.figures["jobs by attempts"] = dict(sorted(attempts.items()))


def _wrong(stage: Stage, crowd: Crowd, spells: Spells, ask: Ask, fate: Fate) -> str | None:
    record, shown = stage.account.known(ask), stage.account.messages(ask)
    match fate:
        case Fate.LOST if ask not in stage.may_be_lost:
            return "it had its end before anything was lost"
        case Fate.STOPPED if ask.job_id not in crowd.stopped:
            return "nobody stopped it"
        case Fate.REFUSED if not shown[0].content.startswith(REFUSALS):
            return "not a refusal that may be"
        case Fate.REFUSED if not is_explained(ask, shown[0], spells):
            return "refused though no such fault was there"
        case Fate.ERROR:
            return None if _is_error_that_may_be(record) else "not an error that may be"
        case _:
            return fate.value if fate in NEVER else None


def is_explained(ask: Ask, refusal: Message, spells: Spells) -> bool:
    """Say whether a fault that explains a refusal was there between the asking and the refusal."""
    causes = EXPLAINED_BY.get(refusal.content)
    event = ask.event
    asked_s = event.created_s if isinstance(event, Interaction) else event.revisions[0].at_s
    told_s = refusal.revisions[-1].at_s
    return causes is None or any(
        name in causes and began_s < told_s and asked_s < ended_s + AFTER_EFFECTS_S
        for name, began_s, ended_s in spells
    )


def _is_error_that_may_be(record: JobRecord | None) -> bool:
    match record:
        case JobRecord(outcome=Failed(code=ErrorCode.ENGINE_LOST), attempt=attempt):
            return attempt == MAX_ATTEMPTS
        case JobRecord(outcome=Failed(code=ErrorCode.DEADLINE), job=Job(kind="verify")):
            # Its minute can be shorter than it takes to start engines anew.
            return True
        case _:
            return False


def judge_logs(stage: Stage, crowd: Crowd, report: Report) -> None:
    """Look for what no log may hold, and for the one line of each finished job."""
    account, found = stage.account, logs.read(stage.log_folder)
    texts = [record.text for ask in account.asks if (record := account.known(ask))]
    secrets = {
        "word of a prompt": crowd.words,
        "prompt": [prompt for prompt in crowd.prompts if len(prompt) > logs.FRAGMENT_CHARS],
        "text of a reply": [part for text in texts for part in logs.fragments(text)],
        "token of the bot": [stage.stack.sandbox.token],
        "token of an interaction": stage.stack.sandbox.world.interactions.keys(),
        "password of Redis": [PASSWORD],
        "watermark key": [WATERMARK_KEY],
    }
    told, tracebacks = logs.told(found, secrets), logs.tracebacks(found)
    report.figures["secrets looked for in the logs"] = sum(len(list(v)) for v in secrets.values())
    report.figures["secrets in the logs"] = len(told)
    report.figures["tracebacks in the logs"] = len(tracebacks)
    report.wrong += [*told, *tracebacks]
    _judge_endings(stage, found, report)


def _judge_endings(stage: Stage, found: Mapping[str, str], report: Report) -> None:
    """Check that each program that saw a job's end wrote one line about it.

    Left out are jobs whose line may have died with its program, or that Redis forgot and that
    ended twice.
    """
    account = stage.account
    victims = {stage.stack.log_of[process].name for process in stage.victims}
    engines = {
        name: log
        for log_name, log in found.items()
        if "engine" in log_name and log_name not in victims
        for name in re.findall(r"engine ready: (\S+) runs", log)
    }
    asks = account.asks[stage.num_lost :]
    records = [record for ask in asks if (record := account.known(ask)) and record.outcome]
    if not engines:
        report.wrong.append("no log of an engine that ended well was found")
    for name, log in engines.items():
        own = [record.job.job_id for record in records if record.engine == name]
        _note_lines(f"engine {name}", logs.endings(log, own), report)
    shown = account.asks[max(stage.num_lost, stage.num_before_this_bot) :]
    own = [ask.job_id for ask in shown if (record := account.known(ask)) and record.message_ids]
    bots = "\n".join(log for name, log in found.items() if "bot" in name)
    if not own:
        report.wrong.append("no reply was found whose end the bot should have logged")
    _note_lines("bot", logs.endings(bots, own), report)


def _note_lines(program: str, counts: Mapping[str, int], report: Report) -> None:
    report.figures[f"ends looked for in the log of {program}"] = len(counts)
    report.wrong += [
        f"{program} logged {number} lines for the end of {job_id}"
        for job_id, number in counts.items()
        if number != 1
    ]


def table(report: Report) -> str:
    """Lay out the report for a person."""
    rows: Sequence[tuple[str, object]] = [
        ("asked", sum(report.fates.values())),
        *((fate.value, report.fates[fate]) for fate in Fate),
        *report.figures.items(),
        ("faults", sum(report.faults.values())),
        *((f"  {name.replace('_', ' ')}", number) for name, number in report.faults.items()),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return "\n".join([*lines, *(f"WRONG {line}" for line in report.wrong)])
