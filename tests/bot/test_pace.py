"""One edit a second for each channel, whoever wants it."""

import asyncio

from bot.pace import MAX_LANES, Pace
from tests.bot.support import FakeClock

GENERAL, RANDOM = 1, 2


async def edit_times(pace: Pace, clock: FakeClock, channel_id: int, num_edits: int) -> list[float]:
    times = []
    for _ in range(num_edits):
        async with pace.turn(channel_id):
            await pace.before_edit(channel_id)
            times.append(clock.now_s())
    return times


async def test_edits_in_one_channel_are_a_second_apart_for_all_replies_together():
    clock = FakeClock()
    pace = Pace(now_s=clock.now_s, sleep=clock.sleep)
    one, two = await asyncio.gather(
        edit_times(pace, clock, GENERAL, 3), edit_times(pace, clock, GENERAL, 3)
    )
    assert sorted(one + two) == [0, 1, 2, 3, 4, 5]
    assert one == [0, 1, 3]


async def test_channels_do_not_wait_for_each_other():
    clock = FakeClock()
    pace = Pace(now_s=clock.now_s, sleep=clock.sleep)
    assert await edit_times(pace, clock, GENERAL, 1) == [0]
    assert await edit_times(pace, clock, RANDOM, 1) == [0]


async def test_several_edits_in_one_turn_are_a_second_apart_too():
    clock = FakeClock()
    pace = Pace(now_s=clock.now_s, sleep=clock.sleep)
    async with pace.turn(GENERAL):
        await pace.before_edit(GENERAL)
        await pace.before_edit(GENERAL)
    assert clock.now_s() == 1


async def test_a_turn_without_an_edit_costs_nobody_anything():
    clock = FakeClock()
    pace = Pace(now_s=clock.now_s, sleep=clock.sleep)
    async with pace.turn(GENERAL):
        pass
    assert await edit_times(pace, clock, GENERAL, 1) == [0]


async def test_channels_at_rest_are_forgotten_and_busy_ones_are_not():
    clock = FakeClock()
    pace = Pace(now_s=clock.now_s, sleep=clock.sleep)
    for channel_id in range(MAX_LANES):
        await pace.before_edit(channel_id)
    await clock.sleep(1.5)
    await pace.before_edit(GENERAL)
    await pace.before_edit(MAX_LANES + 1)
    assert await edit_times(pace, clock, GENERAL, 1) == [2.5]
    assert len(pace._lanes) < 10
