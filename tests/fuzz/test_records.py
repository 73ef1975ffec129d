"""The door of Redis: records written by another version, by hand, or half, to bots and engines.

Two people have asked. What is kept of one request, or of the lane, is damaged; then engine and bot
go on. The other request is answered in full, and whoever's was damaged is told something.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

from hypothesis import strategies as st
from redis.exceptions import RedisError

from bot.origin import MessageOrigin, dump_origin
from engine.running_job import RunningJob
from tests.fuzz.discord_cut import CutBot, cut_bot
from tests.fuzz.door import UNHURRIED, Door, Try
from tests.fuzz.played_discord import BOT_ID, CHANNEL_ID, MODEL, USAGE, check_reply
from tests.wire.support import PREFIX, lapse, make_job
from wire.jobs import Done, FinishReason
from wire.queue import JobQueue, Progress

ENGINE = "engine"
NOT_YOURS = 0
TEXT = "Naïve words of an engine."
ROUNDS_IN_TIME, MAX_ROUNDS = 6, 60
"""How often everybody goes on before deadlines pass, and before a request counts as forgotten."""

FIELDS = (
    *("state", "user", "bot", "body", "attempt", "engine", "model", "beaten", "released"),
    *("cancel", "suspect", "created", "deadline", "seed", "outcome", "wants", "ticket", "messages"),
)
WORDS = (
    *(b"", b"waiting", b"running", b"ended", b"0", b"1", b"-1", b"nan", b"inf", b"-inf", b"1e308"),
    *(b"1e999", b"0x10", b"99999999999999999999", b"ann", b"engine", b"\xff", b"\xc3", b"null"),
    *(b"{}", b"[]", b'{"version":2}', b'{"kind":"done"}', b"1,2,x", b"a\nb", b"%d%s", b"124M"),
)
values = st.one_of(st.sampled_from(WORDS), st.binary(max_size=12))
scores = st.one_of(st.sampled_from((0.0, -1.0, 1.0, 1e308, float("inf"), float("-inf"))))
KEYS = (
    *("job:VICTIM", "text:VICTIM", "open", "lease", "count", "ring", "retry", "engines", "models"),
    *("marks", "clock", "dead", "bell", "bell:124M", "waiting:ann", "waiting:bob", "held:engine"),
    *(f"own:{BOT_ID}", f"events:{BOT_ID}"),
)


class Damage(NamedTuple):
    """One command that somebody might give by hand; VICTIM in it stands for a job's id."""

    command: str
    key: str
    arguments: tuple[Any, ...]


keys = st.sampled_from(KEYS)
members = st.one_of(values, st.just(b"VICTIM"))
damages = st.one_of(
    st.builds(
        Damage,
        st.just("HSET"),
        st.just("job:VICTIM"),
        st.tuples(st.one_of(st.sampled_from(FIELDS), values), values),
    ),
    st.builds(Damage, st.just("HDEL"), st.just("job:VICTIM"), st.tuples(st.sampled_from(FIELDS))),
    st.builds(Damage, st.just("SET"), keys, st.tuples(values)),
    st.builds(Damage, st.just("APPEND"), st.just("text:VICTIM"), st.tuples(values)),
    st.builds(Damage, st.just("DEL"), keys, st.just(())),
    st.builds(Damage, st.sampled_from(("RPUSH", "LPUSH", "SADD")), keys, st.tuples(members)),
    st.builds(Damage, st.just("ZADD"), keys, st.tuples(scores, members)),
    st.builds(Damage, st.just("HSET"), keys, st.tuples(members, values)),
    st.builds(Damage, st.just("HSET"), st.just("count"), st.tuples(st.just(b"bob"), values)),
    st.builds(Damage, st.just("XADD"), keys, st.tuples(st.just("*"), members, values)),
    st.builds(
        Damage,
        st.just("XADD"),
        st.just(f"events:{BOT_ID}"),
        st.tuples(st.just("*"), st.just("job"), members, st.just("attempt"), values),
    ),
    st.builds(lambda key, new: Damage("REPLACE", key, new), keys, st.tuples(values, values)),
)
STAGES = ("waiting", "running", "ended")
CASES = st.tuples(st.sampled_from(STAGES), st.lists(damages, min_size=1, max_size=3))


class _Engine:
    """An engine that never dies, moved step by step."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._jobs: dict[str, RunningJob] = {}

    async def claim(self) -> None:
        """Take all that there is."""
        for claimed in await self._queue.claim(ENGINE, [MODEL], 10, self.held):
            self._jobs[claimed.job.job_id] = RunningJob(claimed)

    async def beat(self, num_bytes: int) -> None:
        """Write so much of each text."""
        jobs = list(self._jobs.values())
        sent = [self._progress(job, num_bytes) for job in jobs]
        verdicts = await self._queue.beat(ENGINE, sent)
        for job, progress, verdict in zip(jobs, sent, verdicts, strict=True):
            if verdict == NOT_YOURS:
                del self._jobs[job.job_id]
            else:
                job.confirm(progress, verdict)

    async def finish(self, job_ids: Sequence[str]) -> None:
        """Write the rest, and the last word."""
        done = Done(finish_reason=FinishReason.LENGTH, usage=USAGE, model_name=MODEL, seed=7)
        for job_id in job_ids:
            while job := self._jobs.get(job_id):
                progress = self._progress(job, len(TEXT.encode()))
                verdict = await self._queue.finish(ENGINE, progress, done)
                if verdict >= 0:
                    del self._jobs[job_id]
                else:
                    job.confirm(progress, verdict)

    @property
    def held(self) -> list[str]:
        """Return the jobs it works on."""
        return list(self._jobs)

    def _progress(self, job: RunningJob, num_bytes: int) -> Progress:
        job.text[:] = TEXT.encode()[: max(num_bytes, len(job.text))]
        return job.progress()


class _Lane:
    """Two requests at a bot and an engine."""

    def __init__(self, bot: CutBot) -> None:
        self.bot, self.redis, self.engine = bot, bot.redis, _Engine(bot.queue)
        self.victim, self.other = f"m11.{bot.new_id()}", f"m11.{bot.new_id()}"

    async def ask(self, stage: str) -> None:
        """Bring the first request to a stage of its life, and the other somewhere near."""
        await self.bot.begin()
        for job_id, user in ((self.victim, "ann"), (self.other, "bob")):
            origin = MessageOrigin(
                channel_id=CHANNEL_ID, asker_id=2, message_id=int(job_id.split(".")[1])
            )
            job = make_job(job_id, user, bot_id=str(BOT_ID), origin=dump_origin(origin))
            await self.bot.queue.submit(job)
        if stage != "waiting":
            await self.engine.claim()
            await self.engine.beat(6)
        if stage == "ended":
            await self.engine.finish([self.victim])

    async def damage(self, damage: Damage) -> None:
        """Do one thing by hand; what Redis itself refuses is not done."""
        command, key, arguments = damage
        place = f"{PREFIX}:{key}".replace("VICTIM", self.victim)
        given = [self.victim if each == b"VICTIM" else each for each in arguments]
        try:
            if command == "REPLACE":
                await self.redis.delete(place)
                await self.redis.hset(place, given[0], given[1])
            else:
                await self.redis.execute_command(command, place, *given)
        except RedisError:
            return

    async def go_on(self) -> str:
        """Let everybody do once what they do all the time; return what Redis refused."""
        refused = ""
        queue, follower = self.bot.queue, self.bot.client._follower
        assert follower is not None

        async def finish() -> None:
            await self.engine.finish(self.engine.held)

        async def adopt() -> None:
            for job_id in await queue.own(str(BOT_ID)):
                await follower._adopt(job_id)

        async def hints() -> None:
            await queue.hints(str(BOT_ID), await queue.follow(str(BOT_ID)), 0)
            await queue.hints(str(BOT_ID), "0-0", 0)

        async def beat() -> None:
            await self.engine.beat(12)

        async def bell() -> None:
            await queue.wait_for_work(0.01, [MODEL])

        for step in (queue.tick, bell, self.engine.claim, beat, finish, hints, adopt, queue.models):
            try:
                await step()
            except RedisError as error:
                refused = f"{step.__name__}: {error}"
        await self.bot.look_again((self.victim, self.other))
        return refused

    async def let_time_pass(self) -> None:
        """Let the first request's deadline pass, and its lease."""
        await self.redis.zadd(f"{PREFIX}:open", {self.victim: 1}, xx=True)
        await lapse(self.redis, self.victim)

    def are_both_answered(self, damages: Sequence[Damage]) -> bool:
        """Say whether one has a whole reply and the other a word, by what was damaged."""
        answers = self.bot.discord.answers
        told, reply = (answers.get(each.split(".")[1]) for each in (self.victim, self.other))
        # What is open has its truth there, and a bot's last words theirs: who takes a request out
        # of these by hand takes it away from engines and bot alike.
        if any(each.key in {"open", f"own:{BOT_ID}"} for each in damages):
            return True
        if reply is None or TEXT not in reply:
            return False
        check_reply([reply], TEXT)
        return told is not None or any(map(_notes_strange_messages, damages))


def _notes_strange_messages(damage: Damage) -> bool:
    """Say whether messages are noted that are not there: to the bot, somebody has deleted them."""
    return damage.arguments[:1] == ("messages",) and all(
        isinstance(each, bytes) and each.replace(b",", b"").isdigit()
        for each in damage.arguments[1:]
    )


async def _try(bot: CutBot, case: tuple[str, list[Damage]]) -> None:
    stage, damages = case
    lane = _Lane(bot)
    await lane.ask(stage)
    for damage in damages:
        await lane.damage(damage)
    refused = ""
    for number in range(MAX_ROUNDS):
        refused = await lane.go_on()
        if not refused and lane.are_both_answered(damages):
            break
        if number == ROUNDS_IN_TIME:
            await lane.let_time_pass()
    assert not refused, refused
    bot.check_posts()
    bot.check_loops()
    assert lane.are_both_answered(damages), bot.discord.answers


@asynccontextmanager
async def _opened() -> AsyncIterator[Try]:
    # Nothing is gained by waiting as long as people can.
    with patch("bot.live_reply.PATIENCE_S", 0.0), patch("bot.live_reply.RETRY_MIN_S", 0.01):
        async with cut_bot() as bot:
            yield partial(_try, bot)


ONCE_FAILED = (
    ("running", [Damage("HSET", "job:VICTIM", ("messages", b"1"))]),
    ("waiting", [Damage("HSET", "job:VICTIM", ("state", b""))]),
    ("waiting", [Damage("HSET", "job:VICTIM", (b"\xff", b"ended"))]),
    ("running", [Damage("HSET", "job:VICTIM", ("created", b"nan"))]),
    ("running", [Damage("HSET", "job:VICTIM", ("messages", b"1,2,x"))]),
    ("running", [Damage("SET", "job:VICTIM", (b"0",))]),
    ("running", [Damage("SADD", "text:VICTIM", (b"0",))]),
    ("ended", [Damage("XADD", f"events:{BOT_ID}", ("*", "job", b"VICTIM", "attempt", b"-1"))]),
    ("waiting", [Damage("XADD", f"events:{BOT_ID}", ("*", b"\xff", b"\xff"))]),
    ("waiting", [Damage("SET", "ring", (b"0",))]),
    ("running", [Damage("REPLACE", "waiting:bob", (b"0", b"1"))]),
    ("waiting", [Damage("HSET", "count", (b"bob", b"1e999"))]),
    ("waiting", [Damage("SET", "bell:124M", (b"0",))]),
    ("running", [Damage("SET", f"own:{BOT_ID}", (b"0",))]),
    ("waiting", [Damage("SADD", f"own:{BOT_ID}", (b"\xff",))]),
    ("ended", [Damage("REPLACE", "held:engine", (b"0", b"1"))]),
)
"""One record by hand, and engines or bots stood still."""
DOOR = Door("records", CASES, _opened, ONCE_FAILED)


@UNHURRIED
def test_whatever_stands_in_redis_others_are_answered_and_its_person_is_told():
    DOOR.try_cases()
