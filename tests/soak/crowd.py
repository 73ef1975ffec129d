"""Twenty people who ask, stop and press at random. Knows no fault; asks only when it may."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sandbox.model import Channel, User
from sandbox.slash import PersonError
from tests.faults.account import Ask
from tests.soak.stage import MAX_UNFINISHED, Stage

Act = Callable[["Crowd", User, random.Random], Awaitable[None]]

NUM_PEOPLE = 20
NUM_SHARED_CHANNELS = 3
MEAN_PAUSE_S = 6.0
PATIENT_SHARE = 0.9
GATE_S = 0.05
BEGINNINGS = (
    "Once upon a time {}",
    "The {} said:",
    "**{}** is _not_ a `word`, but",
    "# {}\n\n- one\n- two\n",
    "Das Märchen vom {} 🦊",
    "@everyone, look at https://example.org/{} and",
    "{}",
)


class Crowd:
    """The people, what they asked and what they pressed.

    Attributes:
        words: a word for each question that stands in nothing else.
        prompts: what was asked.
        stopped: job ids of the questions whose Stop was pressed.
    """

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._account = stage.account
        self._box = stage.stack.sandbox
        self._seed = seed
        self._shared = [
            self._box.open_channel(f"shared {number}") for number in range(NUM_SHARED_CHANNELS)
        ]
        self._asks: dict[User, list[Ask]] = {}
        self.words: list[str] = []
        self.prompts: list[str] = []
        self.stopped: set[str] = set()

    async def run(self) -> None:
        """Let all of them live until cancelled."""
        async with asyncio.TaskGroup() as people:
            for number in range(NUM_PEOPLE):
                people.create_task(self._live(number))

    async def _live(self, number: int) -> None:
        user = self._box.join(f"person {number}")
        self._asks[user] = []
        chance = random.Random(f"{self._seed}: person {number}")
        while True:
            await asyncio.sleep(chance.expovariate(1 / MEAN_PAUSE_S))
            [act] = chance.choices(list(ACTS), list(ACTS.values()))
            # Most wait for their answer, so that a slow machine is not drowned.
            is_patient = chance.random() < PATIENT_SHARE
            if (
                act in (Crowd._stop, Crowd._look_at_details)
                or not is_patient
                or self._has_answers(user)
            ):
                await act(self, user, chance)

    def _has_answers(self, user: User) -> bool:
        return all(self._account.looks_done(ask) for ask in self._asks[user][-MAX_UNFINISHED:])

    def _prompt(self, chance: random.Random) -> str:
        word = f"w{chance.getrandbits(64):016x}"
        prompt = chance.choice(BEGINNINGS).format(word)
        self.words.append(word)
        self.prompts.append(prompt)
        return prompt

    def _channel(self, user: User, chance: random.Random) -> Channel:
        is_shared = chance.random() < 0.3
        return chance.choice(self._shared) if is_shared else self._account.home(user)

    async def _mention(self, user: User, chance: random.Random) -> None:
        prompt, channel = self._prompt(chance), self._channel(user, chance)
        await _until(lambda: self._stage.may_write)
        self._asks[user].append(await self._account.mention(user, prompt, channel))

    async def _write_in_private(self, user: User, chance: random.Random) -> None:
        prompt = self._prompt(chance)
        await _until(lambda: self._stage.may_write)
        self._asks[user].append(await self._account.mention(user, prompt, self._box.dm(user)))

    async def _generate(self, user: User, chance: random.Random) -> None:
        prompt, channel = self._prompt(chance), self._channel(user, chance)
        options: dict[str, Any] = {
            "length": chance.choice((1, 20, 60, 120, 250, 500, 900)),
            "temperature": round(chance.uniform(0, 2), 2),
            "top_k": chance.choice((0, 1, 40, 200)),
            "top_p": round(chance.uniform(0.1, 1), 2),
            "seed": chance.getrandbits(53),
            "model": self._stage.stack.model_name,
        }
        chosen = {name: value for name, value in options.items() if chance.random() < 0.6}
        await _until(lambda: self._stage.may_click)
        self._asks[user].append(await self._account.generate(user, prompt, channel, **chosen))

    async def _verify(self, user: User, chance: random.Random) -> None:
        text = " ".join(self._prompt(chance) for _ in range(3))
        await _until(lambda: self._stage.may_click)
        self._asks[user].append(await self._account.verify(user, text))

    async def _stop(self, user: User, chance: random.Random) -> None:
        if (ask := await self._press(user, "Stop")) is not None:
            self.stopped.add(ask.job_id)

    async def _look_at_details(self, user: User, chance: random.Random) -> None:
        await self._press(user, "Details")

    async def _press(self, user: User, label: str) -> Ask | None:
        """Press the youngest such button of the person's own replies, if there is one."""
        await _until(lambda: self._stage.may_click)
        for ask in reversed(self._asks[user]):
            for message in self._account.messages(ask):
                button = message.button(label)
                if button is not None:
                    with contextlib.suppress(PersonError):
                        pressed = await self._box.press(user, message, button.custom_id)
                        self._stage.presses.append(pressed)
                        return ask
        return None


ACTS: Mapping[Act, int] = {
    Crowd._mention: 9,
    Crowd._generate: 8,
    Crowd._write_in_private: 3,
    Crowd._verify: 1,
    Crowd._stop: 5,
    Crowd._look_at_details: 3,
}
"""What people do, and how often."""


async def _until(is_true: Callable[[], bool]) -> None:
    while not is_true():
        await asyncio.sleep(GATE_S)
