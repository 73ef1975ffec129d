"""Getting into line: once only, within bounds, with an honest place."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tests.wire.support import (
    BOT,
    ROOMY,
    claim,
    claim_ids,
    finish,
    lapse,
    make_job,
    record_of,
    silence,
    submit,
)
from wire.queue import Admission, Bounds, JobState
from wire.records import Submitted


async def test_a_submitted_job_waits_whole_in_its_record(queue):
    job = make_job("a", prompt="héllo 🦉", origin="here")
    assert await queue.submit(job) == Submitted(Admission.OK, num_waiting=0, num_engines=0)
    record = await record_of(queue, "a")
    assert record.job == job
    assert (record.state, record.attempt, record.text) == (JobState.WAITING, 0, "")
    assert (record.engine, record.model_name, record.outcome) == (None, None, None)
    assert (record.cancel_requested, record.message_ids) == (False, ())


async def test_a_job_known_already_is_a_duplicate_and_changes_nothing(queue):
    await queue.submit(make_job("a", prompt="first"))
    again = await queue.submit(make_job("a", prompt="second"))
    assert again == Submitted(Admission.DUPLICATE, num_waiting=0, num_engines=0)
    assert (await record_of(queue, "a")).job.prompt == "first"
    assert await claim_ids(queue) == ["a"]
    assert await claim_ids(queue, held=["a"]) == []


async def test_an_ended_job_is_still_a_duplicate(queue):
    await submit(queue, "a")
    await claim(queue)
    await finish(queue, "a")
    assert (await queue.submit(make_job("a"))).admission is Admission.DUPLICATE
    assert (await record_of(queue, "a")).state is JobState.ENDED


async def test_a_user_may_have_two_unfinished_jobs_and_no_more(queue):
    assert (await queue.submit(make_job("a"))).admission is Admission.OK
    await claim(queue)
    assert (await queue.submit(make_job("b"))).admission is Admission.OK
    assert (await queue.submit(make_job("c"))).admission is Admission.BUSY_USER
    assert await queue.snapshot("c") is None
    assert (await queue.submit(make_job("d", "bob"))).admission is Admission.OK
    await finish(queue, "a")
    assert (await queue.submit(make_job("c"))).admission is Admission.OK


async def test_a_full_line_refuses_with_its_length_and_running_jobs_do_not_count(queue):
    bounds = Bounds(max_waiting=2, max_unfinished_per_user=9)
    await submit(queue, "run")
    await claim(queue)
    assert (await queue.submit(make_job("a"), bounds)).num_waiting == 0
    assert (await queue.submit(make_job("b", "bob"), bounds)).num_waiting == 1
    refused = await queue.submit(make_job("c", "cat"), bounds)
    assert refused == Submitted(Admission.BUSY, num_waiting=2, num_engines=1)
    assert await queue.snapshot("c") is None
    assert await queue.own(BOT) == {"run", "a", "b"}


async def test_only_living_engines_are_counted(queue, redis):
    await claim(queue, "e1", 0)
    await claim(queue, "e2", 0)
    await silence(redis, "e1")
    assert (await queue.submit(make_job("a"))).num_engines == 1
    await queue.leave("e2")
    assert (await queue.submit(make_job("b"))).num_engines == 0


async def test_users_take_turns(queue):
    await submit(queue, *(f"flood{i}" for i in range(20)), user_id="flood")
    await submit(queue, "ann1", "ann2", user_id="ann")
    await submit(queue, "bob1", user_id="bob")
    order = [id_ for _ in range(6) for id_ in await claim_ids(queue, "e", 1, held=HELD)]
    assert order == ["flood0", "ann1", "bob1", "flood1", "ann2", "flood2"]


# Named as held from the start, so that a claim hands out only what is new.
HELD = [f"flood{i}" for i in range(20)] + ["ann1", "ann2", "bob1"]


async def test_one_claim_takes_turns_too(queue):
    await submit(queue, "a1", "a2", "a3", user_id="ann")
    await submit(queue, "b1", user_id="bob")
    assert await claim_ids(queue, num_free=3) == ["a1", "b1", "a2"]


async def test_a_user_who_comes_back_stands_at_the_end_of_the_ring(queue):
    await submit(queue, "a1", user_id="ann")
    await submit(queue, "b1", user_id="bob")
    await submit(queue, "c1", user_id="cat")
    assert await claim_ids(queue, num_free=1) == ["a1"]
    await submit(queue, "a2", user_id="ann")
    assert await claim_ids(queue, held=["a1"]) == ["b1", "c1", "a2"]


async def test_a_place_is_given_to_waiting_jobs_only(queue):
    assert await queue.place("nobody") is None
    await submit(queue, "a", "b")
    await claim(queue, num_free=1)
    assert await queue.place("a") is None
    assert await queue.place("b") == 1
    await claim(queue, num_free=1, held=["a"])
    await finish(queue, "b")
    assert await queue.place("b") is None


async def test_suspects_stand_before_everybody(queue, redis):
    await submit(queue, "s1", "s2")
    await claim(queue)
    await submit(queue, "a", user_id="bob")
    await lapse(redis, "s1", "s2")
    await queue.tick()
    places = {await queue.place("s1"), await queue.place("s2")}
    assert places == {1, 2}
    assert await queue.place("a") == 3


async def test_the_bell_wakes_an_engine_that_waits(queue, patient_queue):
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(patient_queue.wait_for_work(30))
        await submit(queue, "a")
    assert waiting.result() is True
    assert await queue.wait_for_work(0) is False


async def test_many_jobs_leave_one_ring_of_the_bell_and_a_claim_passes_it_on(queue):
    await submit(queue, "a", "b", "c")
    assert await queue.wait_for_work(0)
    assert not await queue.wait_for_work(0)
    await claim(queue, "e1", 1)
    assert await queue.wait_for_work(0)
    await claim(queue, "e2", 2)
    assert not await queue.wait_for_work(0)


lines = st.lists(st.sampled_from(["ann", "bob", "cat", "dan"]), min_size=1, max_size=12)


@given(lines)
def test_places_are_the_order_in_which_jobs_begin(redis_server, runner, users):
    async def places_and_order():
        async with runner.queue(redis_server) as queue:
            for number, user in enumerate(users):
                await queue.submit(make_job(f"j{number}", user), ROOMY)
            places = {f"j{i}": await queue.place(f"j{i}") for i in range(len(users))}
            return places, await claim_ids(queue)

    places, order = runner.run(places_and_order())
    assert places == {job_id: place for place, job_id in enumerate(order, start=1)}
