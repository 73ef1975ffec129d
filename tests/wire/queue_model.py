"""A simple model of a job in the queue: what each call makes of it. Knows no Redis."""

from dataclasses import dataclass

from wire import keys
from wire.queue import JobState


@dataclass
class Shadow:
    """What the model knows of a job."""

    user: str
    model: str | None
    state: JobState = JobState.WAITING
    attempt: int = 0
    engine: str | None = None
    text: str = ""
    suspect: bool = False
    beaten: bool = False
    cancel: bool = False
    ending: str = ""

    def end(self, how: str) -> None:
        self.state, self.ending = JobState.ENDED, how

    def lose(self) -> None:
        if self.cancel:
            self.end("cancelled")
        elif self.attempt >= keys.MAX_ATTEMPTS:
            self.end("engine_lost")
        else:
            self.state, self.engine, self.suspect = JobState.WAITING, None, True

    def give_back(self) -> None:
        if self.cancel:
            self.end("cancelled")
        else:
            self.state, self.engine, self.beaten = JobState.WAITING, None, False
            self.attempt -= 1

    def start(self, engine: str) -> None:
        self.state, self.engine, self.text = JobState.RUNNING, engine, ""
        self.attempt += 1
        self.beaten = False

    def suits(self, models: list[str]) -> bool:
        return self.model is None or self.model in models
