"""Jobs that name a model: who may take them, and what they hold up: nothing."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.wire.support import (
    COMMON,
    RARE,
    beat,
    claim,
    claim_ids,
    finish,
    lapse,
    leftovers,
    record_of,
    submit,
)
from wire.queue import JobQueue, JobState


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
