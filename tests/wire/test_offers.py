"""What engines have to offer: what is refused for want of it, and whom a model's bell wakes."""

import asyncio

import pytest

from tests.wire.support import (
    COMMON,
    RARE,
    claim_ids,
    expire,
    leftovers,
    make_job,
    record_of,
    silence,
    submit,
)
from wire.jobs import ErrorCode, Failed
from wire.keys import MAX_MODELS
from wire.queue import Admission, Submitted


async def test_a_model_that_no_live_engine_has_is_refused_at_once_and_leaves_nothing(
    queue, redis, engines
):
    answer = await queue.submit(make_job("a", model="novel"))
    assert answer == Submitted(Admission.NO_MODEL, num_waiting=0, num_engines=2)
    assert await queue.snapshot("a") is None
    assert await leftovers(redis) == []
    # What engines have is named as a whole: neither a part of a name nor two names are one.
    for name in ("124", "M", "1558M."):
        answer = await queue.submit(make_job("b", model=name))
        assert answer.admission is Admission.NO_MODEL
    assert (await queue.submit(make_job("c", model="notes"))).admission is Admission.OK


async def test_a_refused_job_may_be_submitted_again_once_an_engine_has_the_model(queue, engines):
    assert (await queue.submit(make_job("a", model="novel"))).admission is Admission.NO_MODEL
    await queue.claim("common", [*COMMON, "novel"], 0, [])
    assert (await queue.submit(make_job("a", model="novel"))).admission is Admission.OK
    await queue.leave("common")
    again = await queue.submit(make_job("a", model="novel"))
    assert again.admission is Admission.DUPLICATE


async def test_without_any_engine_a_model_is_waited_for(queue):
    answer = await queue.submit(make_job("a", model="novel"))
    assert answer == Submitted(Admission.OK, num_waiting=0, num_engines=0)
    assert await claim_ids(queue, "e1", models=COMMON) == []
    assert await claim_ids(queue, "e2", models=["novel"]) == ["a"]


async def test_an_engine_whose_record_was_lost_may_have_any_model_until_it_claims(queue, redis):
    await queue.claim("e1", COMMON, 0, [])
    await redis.delete("{ovid:0}:models")
    assert (await queue.submit(make_job("a", model="novel"))).admission is Admission.OK
    assert await queue.models() == ()
    await queue.claim("e1", COMMON, 0, [])
    assert (await queue.submit(make_job("b", model="novel"))).admission is Admission.NO_MODEL


@pytest.mark.parametrize("gone", ["left", "silent"])
async def test_a_model_whose_only_engine_is_gone_ends_at_its_deadline_for_want_of_one(
    queue, redis, engines, gone
):
    await submit(queue, "a", model="1558M")
    await submit(queue, "b", model="notes", user_id="bob")
    if gone == "left":
        await queue.leave("rare")
    else:
        await silence(redis, "rare")
    await expire(redis, "a", "b")
    await queue.tick()
    outcomes = [(await record_of(queue, job_id)).outcome for job_id in "ab"]
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Failed)] == [
        ErrorCode.NO_ENGINE,
        ErrorCode.DEADLINE,
    ]


async def test_what_is_on_offer_is_the_union_with_the_commonest_default_first(queue, redis):
    assert await queue.models() == ()
    await queue.claim("e1", ["demo", "zebra"], 0, [])
    await queue.claim("e2", ["124M", "demo", "apple"], 0, [])
    await queue.claim("e3", ["124M"], 0, [])
    await queue.claim("e4", ["gone"], 0, [])
    await silence(redis, "e4")
    assert await queue.models() == ("124M", "demo", "apple", "zebra")
    assert (await queue.tick()).models == ("124M", "demo", "apple", "zebra")
    # A model that was trained since is there with the next claim.
    await queue.claim("e1", ["demo", "notes", "zebra"], 0, [])
    assert await queue.models() == ("124M", "demo", "apple", "notes", "zebra")
    for engine in ("e1", "e2", "e3"):
        await queue.leave(engine)
    assert await queue.models() == ()


async def test_an_engine_of_the_former_version_has_the_one_model_that_it_tells(queue, redis):
    # It wrote a bare name, and knows nothing of what jobs want.
    await queue.claim("new", ["notes"], 0, [])
    await redis.hset("{ovid:0}:models", "new", "124M")
    assert await queue.models() == ("124M",)
    assert (await queue.tick()).engines == {"new": "124M"}
    assert (await queue.submit(make_job("a", model="124M"))).admission is Admission.OK
    assert (await queue.submit(make_job("b", model="notes"))).admission is Admission.NO_MODEL


async def test_a_job_of_the_former_version_is_anybodys(queue, redis):
    await submit(queue, "a")
    await redis.hdel("{ovid:0}:job:a", "wants")
    await queue.tick()
    assert await claim_ids(queue, models=COMMON) == ["a"]


async def test_an_engine_offers_a_bounded_number_of_models(queue):
    names = [f"m{number:04}" for number in range(MAX_MODELS + 50)]
    await queue.claim("e1", names, 0, [])
    assert await queue.models() == tuple(names[:MAX_MODELS])


async def woken(queue, models, timeout_s=0.0):
    async with asyncio.timeout(30):
        return await queue.wait_for_work(timeout_s, models)


async def test_a_job_wakes_an_engine_that_has_its_model_and_no_other(queue, engines):
    await submit(queue, "a", model="1558M")
    assert not await woken(queue, COMMON)
    assert await woken(queue, RARE)
    assert not await woken(queue, RARE)


async def test_whoever_begins_a_job_wakes_an_engine_for_the_next_one(queue, engines):
    await submit(queue, "a", "b", model="notes")
    await submit(queue, "c", user_id="bob", model="1558M")
    assert await woken(queue, COMMON)
    assert await woken(queue, RARE)
    assert await claim_ids(queue, "common", 1, models=COMMON) == ["a"]
    assert await woken(queue, RARE), "the next turn is Bob's"
    assert await woken(queue, COMMON), "Ann has another one"


async def test_tick_rings_the_bells_of_what_waits(queue, redis, engines):
    await submit(queue, "a", model="1558M")
    await redis.delete("{ovid:0}:bell:1558M")
    await queue.tick()
    assert not await woken(queue, COMMON)
    assert await woken(queue, RARE)


async def test_an_engine_with_nothing_to_take_rings_no_bell(queue, engines):
    await submit(queue, "a", model="1558M")
    assert await woken(queue, RARE)
    assert await claim_ids(queue, "common", models=COMMON) == []
    assert not await woken(queue, [*COMMON, *RARE])
