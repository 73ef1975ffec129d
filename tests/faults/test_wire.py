"""A wire between Redis and the programs that loses answers after the commands were done."""

import random

import pytest

from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Fate
from tests.faults.under_way import ask_many, check_written, started
from tests.wire.lossy_proxy import LossyProxy

NUM_JOBS = 30
LOST_SHARE = 0.05


@pytest.mark.fault
async def test_08_one_answer_in_twenty_may_be_lost(stack: Stack, account: Account) -> None:
    async with LossyProxy(stack.redis_server.url).serve() as proxy:
        proxy.chance = random.Random(8)
        await started(stack, slots=8, OVID_REDIS_URL=proxy.url)
        proxy.rate = LOST_SHARE
        await ask_many(account, stack, NUM_JOBS)
        assert await account.check() == {Fate.FULL: NUM_JOBS}
        proxy.rate = 0
    assert proxy.num_lost > NUM_JOBS // 2
    await check_written(stack)
