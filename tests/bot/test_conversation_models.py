"""`/generate model:` with the real client: offered while it is typed, refused if unknown."""

from bot import replies
from bot.client import BotClient
from sandbox.redis_server import RedisServer
from sandbox.server import Sandbox
from tests.bot.support import LABEL, MODEL, Engine, running_bot, until_is
from wire.queue import JobQueue


async def offered(sandbox: Sandbox, typed: str) -> list[str]:
    asked = await sandbox.autocomplete(sandbox.alice, sandbox.general, "generate", "model", typed)
    await sandbox.wait_for(lambda: asked.answered)
    return [choice["value"] for choice in asked.choices]


async def test_the_models_that_engines_have_are_offered_as_a_person_types(
    sandbox: Sandbox, bot: BotClient, queue: JobQueue
):
    assert await offered(sandbox, "") == []
    await queue.claim("one", ["demo", "Notes", "essays"], 0, [])
    assert await offered(sandbox, "") == ["demo", "Notes", "essays"]
    assert await offered(sandbox, "NOT") == ["Notes"]
    # A model that was trained while the bot runs.
    await queue.claim("one", ["demo", "Notes", "Notes-2", "essays"], 0, [])
    assert await offered(sandbox, "notes") == ["Notes", "Notes-2"]


async def test_no_more_is_offered_than_discord_shows(
    sandbox: Sandbox, bot: BotClient, queue: JobQueue
):
    await queue.claim("one", ["demo", *(f"m{number:02}" for number in range(40))], 0, [])
    assert await offered(sandbox, "m") == ["demo", *(f"m{number:02}" for number in range(24))]


async def test_the_chosen_model_goes_to_an_engine_that_has_it(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    called = await sandbox.slash(
        sandbox.alice, sandbox.general, "generate", {"prompt": "Once", "model": MODEL}
    )
    job = await engine.take()
    assert job.model == MODEL
    await engine.end(job, " upon")
    assert called.original
    quoted = "-# Alice asked for a text that begins with:\n> Once"
    await until_is(sandbox, called.original, f"{LABEL}\n{quoted}\n upon")


async def test_a_model_that_no_engine_has_is_refused_with_those_there_are(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    await engine.appear()
    for unknown in ("notes", "no such/model!"):
        called = await sandbox.slash(
            sandbox.alice, sandbox.general, "generate", {"prompt": "Once", "model": unknown}
        )
        await sandbox.wait_for(lambda: called.original and called.original.content)  # noqa: B023
        assert called.original
        assert called.original.content == replies.no_such_model((MODEL,))
        assert MODEL in called.original.content
    await engine.take_nothing()


async def test_while_redis_is_away_no_model_is_offered_and_nobody_waits_for_it(
    sandbox: Sandbox, own_redis_server: RedisServer
):
    async with running_bot(sandbox, own_redis_server.url):
        await own_redis_server.kill()
        assert await offered(sandbox, "n") == []
