"""Engines that die, freeze, end and come back, and the case in which nothing happens to them."""

from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Fate


async def test_01_without_a_fault_all_is_answered_by_first_attempts(
    stack: Stack, account: Account
) -> None:
    await stack.start_engine(slots=8)
    await stack.start_bot(OVID_MAX_UNFINISHED_PER_USER="20")
    users = [stack.sandbox.join(f"user {number}") for number in range(6)]
    for number in range(60):
        user = users[number % len(users)]
        if number % 2:
            await account.mention(user, f"Question {number}")
        else:
            await account.generate(user, f"Question {number}", length=20)
    assert await account.check() == {Fate.FULL: 60}
    assert {record.attempt for record in await stack.records()} == {1}
