"""The programs of a soak: which bots and engines run, and who may ask when. Knows no fault.

People may ask only while somebody would hear them: what is said to a bot that is not there is
never known to it, as at Discord. Commands and buttons have three seconds to be answered there, so
for them that is stricter.
"""

import asyncio
import contextlib
import random
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redis.exceptions import RedisError

from sandbox.model import Interaction
from tests.end_to_end.stack import Stack
from tests.faults.account import NEVER, Account, Ask, Fate
from tests.faults.slow_engine import STEP_S
from tests.soak.redis import GuardedRedis
from tests.wire.lossy_proxy import LossyProxy

SLOTS = 4
MAX_UNFINISHED = 3
ENGINE_STEP_S = "0.01"
"""Replies last for seconds, so that faults strike in the middle of them."""
HEARD_TIMEOUT_S = 60.0
RETRY_S = 0.1
ENDS = frozenset(set(Fate) - set(NEVER))


@dataclass(eq=False)
class Stage:
    """Everything that runs, and the gates for people.

    Attributes:
        chance: of the faults.
        log_folder: where the programs' logs are.
        presses: every press of a button.
        num_lost: the questions up to this one were asked before Redis last lost something.
        may_be_lost: the questions that had not had their end when Redis lost something.
        num_before_this_bot: the questions up to this one were asked before the bot was started
            that runs now.
        bot_began_s: when that was, by the monotonic clock.
        victims: programs that were killed, whose logs may end in the middle.
    """

    stack: Stack
    account: Account
    redis_server: GuardedRedis
    proxy: LossyProxy
    chance: random.Random
    log_folder: Path
    bots: list[Process] = field(default_factory=list)
    engines: list[Process] = field(default_factory=list)
    presses: list[Interaction] = field(default_factory=list)
    num_lost: int = 0
    may_be_lost: set[Ask] = field(default_factory=set)
    num_before_this_bot: int = 0
    bot_began_s: float = 0.0
    victims: set[Process] = field(default_factory=set)
    is_silent: bool = True
    num_without_clicks: int = 0
    _num_heard: int = 0

    @property
    def programs(self) -> list[Process]:
        """All that run now."""
        return [*self.bots, *self.engines]

    @property
    def may_write(self) -> bool:
        """Whether a message would be heard, now or after the gateway has resumed."""
        return not self.is_silent

    @property
    def may_click(self) -> bool:
        """Whether a command or a button would be heard within three seconds."""
        is_connected = self.stack.sandbox.gateway.num_connected >= len(self.bots) > 0
        return not self.is_silent and self.num_without_clicks == 0 and is_connected

    async def start_bot(self) -> Process:
        """Start one more bot under the same name."""
        settings = {
            "OVID_MAX_UNFINISHED_PER_USER": str(MAX_UNFINISHED),
            "OVID_BOT_HEALTH_PORT": "0",
            "OVID_REDIS_URL": self.redis_server.url_through(self.proxy.url),
        }
        process = await self.stack.start_bot(**settings)
        self.bot_began_s = time.monotonic()
        self.bots.append(process)
        return process

    async def start_engine(self) -> Process:
        """Start one more engine."""
        settings = {
            STEP_S: ENGINE_STEP_S,
            "OVID_HEALTH_PORT": "0",
            "OVID_REDIS_URL": self.redis_server.url_through(self.proxy.url),
        }
        process = await self.stack.start_engine(SLOTS, **settings)
        self.engines.append(process)
        return process

    async def kill(self, process: Process) -> None:
        """Kill a program as the kernel does when memory is out."""
        self._forget(process)
        self.victims.add(process)
        await self.stack.kill(process)

    async def terminate(self, process: Process) -> None:
        """Ask a program to end."""
        self._forget(process)
        status = await self.stack.terminate(process)
        assert status == 0, f"asked to end, a program ended with status {status}"

    def bury(self) -> list[Process]:
        """Forget the programs that have died by themselves, and return them."""
        dead = [process for process in self.programs if process.returncode is not None]
        for process in dead:
            self._forget(process)
        self.victims.update(dead)
        return dead

    def _forget(self, process: Process) -> None:
        if process in self.bots:
            self.num_before_this_bot = len(self.account.asks)
        for running in (self.bots, self.engines):
            if process in running:
                running.remove(process)

    @contextlib.contextmanager
    def frozen(self, processes: Sequence[Process]) -> Iterator[None]:
        """Stop programs while the block lasts."""
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Let nobody ask, from when all that was asked is in the queue or answered."""
        self.is_silent = True
        await self._until_all_is_heard()
        try:
            yield
        finally:
            await self.connected()
            self.is_silent = False

    @contextlib.asynccontextmanager
    async def no_clicks(self) -> AsyncIterator[None]:
        """Let nobody use a command or a button, from when all that were used are answered."""
        self.num_without_clicks += 1
        await self._until_all_is_heard()
        try:
            yield
        finally:
            await self.connected()
            self.num_without_clicks -= 1

    async def connected(self) -> None:
        """Wait until every bot is at the gateway."""
        gateway = self.stack.sandbox.gateway
        await self.stack.sandbox.wait_for(
            lambda: gateway.num_connected >= len(self.bots), HEARD_TIMEOUT_S
        )

    @contextlib.asynccontextmanager
    async def exact_memory(self) -> AsyncIterator[None]:
        """Know each record as it is when the block begins, which makes Redis lose some.

        Who has no end by now may be told to ask again, and nobody else. Who asks meanwhile would
        not be known, so the block belongs into a silence.
        """
        with self.frozen(self.engines):
            # What an engine sent before it froze may still be on its way.
            await asyncio.sleep(2 * RETRY_S)
            own = await self.stack.queue.own(str(self.stack.sandbox.bot_user.id))
            for ask in self.account.asks:
                if await self.account.fate(ask) not in ENDS or ask.job_id in own:
                    self.may_be_lost.add(ask)
            self.num_lost = len(self.account.asks)
            yield

    async def told_of_loss(self) -> None:
        """Wait until nobody waits for what Redis has lost: only this bot knows of them now."""
        give_up_at_s = time.monotonic() + HEARD_TIMEOUT_S
        for ask in self.account.asks:
            while time.monotonic() < give_up_at_s:
                is_lost = await self.stack.queue.snapshot(ask.job_id) is None
                if not is_lost or await self.account.fate(ask) is not Fate.UNANSWERED:
                    break
                await asyncio.sleep(RETRY_S)

    async def _until_all_is_heard(self) -> None:
        """Wait for it, but not for ever: the account will tell who was never heard."""
        give_up_at_s = time.monotonic() + HEARD_TIMEOUT_S
        asks = self.account.asks
        while self._num_heard < len(asks) or not all(each.answered for each in self.presses):
            if time.monotonic() > give_up_at_s:
                self._num_heard = len(asks)
                return
            if self._num_heard < len(asks) and await self._is_heard(asks[self._num_heard]):
                self._num_heard += 1
            else:
                await asyncio.sleep(RETRY_S)

    async def _is_heard(self, ask: Ask) -> bool:
        if any(message.content for message in self.account.messages(ask)):
            return True
        with contextlib.suppress(RedisError):
            return await self.account.record(ask) is not None
        return False
