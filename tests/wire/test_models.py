"""Jobs that name a model: who may take them, what they hold up (nothing), and what is on offer."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.support import (
    beat,
    claim,
    claim_ids,
    expire,
    finish,
    lapse,
    leftovers,
    make_job,
    record_of,
    silence,
    submit,
)
from wire.jobs import ErrorCode, Failed
from wire.keys import MAX_MODELS
from wire.queue import Admission, JobQueue, JobState, Submitted

COMMON = ["124M", "notes"]
RARE = ["124M", "1558M"]


@pytest.fixture
async def engines(queue):
    """A common engine and a rare one, both full."""
    await queue.claim("common", COMMON, 0, [])
    await queue.claim("rare", RARE, 0, [])


async def claim_one(queue, engine, models):
    ids = await claim_ids(queue, engine, 1, models=models)
    for job_id in ids:
        assert await finish(queue, job_id, engine=engine) == 1
    return ids


async def test_only_an_engine_that_has_the_model_takes_the_job(queue, engines):
    await submit(queue, "a", model="1558M")
    assert await claim_ids(queue, "common", models=COMMON) == []
    assert (await record_of(queue, "a")).state is JobState.WAITING
    [claimed] = await claim(queue, "rare", models=RARE)
    assert (claimed.job.job_id, claimed.attempt) == ("a", 1)
    assert (await record_of(queue, "a")).model_name == "1558M"


async def test_a_job_that_names_no_model_is_anybodys_and_bears_the_engines_default(queue):
    await submit(queue, "a", "b")
    assert await claim_ids(queue, "e1", 1, models=["notes", "124M"]) == ["a"]
    assert await claim_ids(queue, "e2", 1, models=["124M"]) == ["b"]
    records = [await record_of(queue, job_id) for job_id in "ab"]
    assert [record.model_name for record in records] == ["notes", "124M"]


async def test_a_job_left_to_others_holds_up_neither_its_user_nor_those_behind(queue, engines):
    await submit(queue, "a1", user_id="ann", model="1558M")
    await submit(queue, "a2", user_id="ann")
    await submit(queue, "b1", "b2", user_id="bob")
    taken = [await claim_one(queue, "common", COMMON) for _ in range(4)]
    assert taken == [["a2"], ["b1"], ["b2"], []]
    assert await claim_ids(queue, "rare", models=RARE) == ["a1"]


async def test_users_whose_job_is_left_to_others_keep_their_turn(queue, engines):
    for user in ("ann", "bob", "cat"):
        await submit(queue, f"rare-{user}", user_id=user, model="1558M")
        await submit(queue, f"{user}-1", f"{user}-2", user_id=f"{user}-too")
    turns = [await claim_one(queue, "common", COMMON) for _ in range(3)]
    assert turns == [["ann-1"], ["bob-1"], ["cat-1"]]
    # The common engine went past them at every claim; they are next all the same.
    turns = [await claim_one(queue, "rare", RARE) for _ in range(3)]
    assert turns == [["rare-ann"], ["rare-bob"], ["rare-cat"]]
    assert await claim_ids(queue, "common", models=COMMON) == ["ann-2", "bob-2", "cat-2"]


async def test_users_take_turns_whatever_they_ask_for(queue, engines):
    await submit(queue, "a1", "a2", "a3", user_id="ann", model="notes")
    await submit(queue, "b1", user_id="bob")
    await submit(queue, "b2", user_id="bob", model="124M")
    await submit(queue, "c1", user_id="cat", model="notes")
    assert await claim_ids(queue, "common", models=COMMON) == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_a_released_job_is_next_for_those_that_have_its_model(queue, engines):
    await submit(queue, "a", "b", model="1558M")
    assert await claim_ids(queue, "rare", 1, models=RARE) == ["a"]
    assert await queue.release("rare", "a", 1)
    assert await claim_ids(queue, "common", models=COMMON) == []
    assert await claim_ids(queue, "rare", models=RARE) == ["a", "b"]


async def test_a_suspect_waits_for_its_model_and_keeps_no_other_suspect_waiting(
    queue, redis, engines
):
    await submit(queue, "a", model="1558M")
    await submit(queue, "b", user_id="bob")
    assert await claim_ids(queue, "rare", models=RARE) == ["a", "b"]
    await lapse(redis, "a", "b")
    [claimed] = await claim(queue, "common", models=COMMON)
    assert (claimed.job.job_id, claimed.suspect) == ("b", True)
    assert await claim_ids(queue, "common", held=["b"], models=COMMON) == []
    [claimed] = await claim(queue, "rare2", models=RARE)
    assert (claimed.job.job_id, claimed.attempt, claimed.suspect) == ("a", 2, True)


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


class CountingQueue(JobQueue):
    """The real queue; it counts the calls of each script."""

    def __init__(self, redis, max_looks):
        super().__init__(redis)
        assert '"claim_max_looks": 1000' in self._settings
        self._settings = self._settings.replace(
            '"claim_max_looks": 1000', f'"claim_max_looks": {max_looks}'
        )
        self.num_calls = 0

    async def _run(self, script, *args):
        self.num_calls += script == "claim"
        return await super()._run(script, *args)


async def test_a_claim_that_looks_at_many_jobs_does_so_in_several_calls_and_finds_its_own(redis):
    queue = CountingQueue(redis, max_looks=10)
    for number in range(40):
        await submit(queue, f"r{number}", user_id=f"user{number}", model="1558M")
    await submit(queue, *(f"s{number}" for number in range(15)), user_id="sam", model="1558M")
    await submit(queue, "a1", "a2", user_id="ann")
    queue.num_calls = 0
    assert await claim_ids(queue, "common", 1, models=COMMON) == ["a1"]
    assert queue.num_calls == 6
    assert await claim_ids(queue, "common", 9, held=["a1"], models=COMMON) == ["a2"]
    queue.num_calls = 0
    assert await claim_ids(queue, "common", 9, held=["a1", "a2"], models=COMMON) == []
    assert queue.num_calls == 6
    assert (await claim_ids(queue, "rare", 3, models=RARE)) == ["r0", "r1", "r2"]


async def test_many_suspects_for_another_model_keep_no_engine_from_its_jobs(queue, redis):
    names = [f"s{number}" for number in range(250)]
    await submit(queue, *names, model="1558M")
    assert len(await claim_ids(queue, "rare", 250, models=RARE)) == 250
    await lapse(redis, *names)
    await queue.tick()
    await submit(queue, "a", user_id="ann")
    assert await claim_ids(queue, "common", 5, models=COMMON) == ["a"]


async def test_lines_lost_and_made_again_still_know_what_is_wanted(queue, redis, engines):
    await submit(queue, "a", model="1558M")
    await submit(queue, "b", user_id="bob")
    await redis.delete("{ovid:0}:ring", "{ovid:0}:waiting:ann", "{ovid:0}:waiting:bob")
    await queue.tick()
    assert await claim_ids(queue, "common", models=COMMON) == ["b"]
    assert await claim_ids(queue, "rare", models=RARE) == ["a"]


async def test_a_mixed_lane_ends_clean(queue, redis, engines):
    wanted = itertools.cycle([None, "1558M", "notes", "124M"])
    for number, model in zip(range(24), wanted, strict=False):
        await submit(queue, f"j{number}", user_id=f"user{number % 5}", model=model)
    done = 0
    for engine, models in itertools.islice(
        itertools.cycle([("common", COMMON), ("rare", RARE)]), 24
    ):
        for each in await claim(queue, engine, 2, models=models):
            assert each.job.model in (None, *models)
            assert await beat(queue, each.job.job_id, "x", engine=engine) == 1
            assert await finish(queue, each.job.job_id, engine=engine, offset=1) == 1
            await queue.shown("bot", each.job.job_id)
            done += 1
    assert done == 24
    assert await leftovers(redis) == []


OFFERS = {"common": COMMON, "rare": RARE, "all": [*COMMON, *RARE]}
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["ann", "bob", "cat"]), st.sampled_from([None, "notes", "1558M"])),
    st.tuples(st.sampled_from(sorted(OFFERS)), st.integers(1, 3)),
)


class Lines:
    """Who is next, said as simply as can be: the first user in the ring with a job that suits."""

    def __init__(self):
        self.ring = []
        self.lines = {}

    def add(self, user, job_id, model):
        if user not in self.ring:
            self.ring.append(user)
        self.lines.setdefault(user, []).append((job_id, model))

    def take(self, models):
        for user in self.ring:
            for job in self.lines[user]:
                if job[1] in (None, *models):
                    self.lines[user].remove(job)
                    self.ring.remove(user)
                    if self.lines[user]:
                        self.ring.append(user)
                    return job[0]
        return None


@given(actions=st.lists(ACTIONS, max_size=40))
def test_jobs_begin_in_the_order_that_the_ring_of_users_says(runner, redis_server, actions):
    async def main():
        lines = Lines()
        async with runner.queue(redis_server) as queue:
            for number, (who, what) in enumerate(actions):
                if who in OFFERS:
                    expected = [lines.take(OFFERS[who]) for _ in range(what)]
                    claimed = await claim_ids(queue, f"{who}{number}", what, models=OFFERS[who])
                    assert claimed == [job_id for job_id in expected if job_id]
                else:
                    # An engine that has all of them lives, so nothing is refused.
                    await queue.claim("whole", OFFERS["all"], 0, [])
                    await submit(queue, f"j{number}", user_id=who, model=what)
                    lines.add(who, f"j{number}", what)

    runner.run(main())
