"""The scheduler before a fake model: who runs when, and that everybody gets their own tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import OverloadedError
from engine.scheduler import Scheduler, StepPlan
from engine.sequence import Sequence as EngineSequence
from engine.sequence import SequenceStatus
from tests.engine.support import ENDLESS, EOT, FakeModelRunner, NextToken, make_sequence
from wire.jobs import FinishReason


def lasting(held: Sequence[int]) -> int:
    """A token that depends on every id in the slot and on its place."""
    return sum((place + 1) * token_id for place, token_id in enumerate(held)) % 251


def mixed(held: Sequence[int]) -> int:
    """The same, but now and then end-of-text."""
    number = lasting(held)
    return EOT if number % 17 == 0 else number


def written_alone(prompt: Sequence[int], max_tokens: int) -> tuple[list[int], FinishReason]:
    ids = list(prompt)
    for _ in range(max_tokens):
        token_id = mixed(ids)
        if token_id == EOT:
            return ids, FinishReason.STOP
        ids.append(token_id)
    return ids, FinishReason.LENGTH


class Bench:
    """A scheduler and a runner, turned step by step."""

    def __init__(
        self,
        next_token: NextToken = lasting,
        *,
        num_slots: int = 4,
        prefill_tokens: int = 16,
        max_waiting: int = 100,
    ) -> None:
        self.scheduler = Scheduler(
            num_slots=num_slots, prefill_tokens=prefill_tokens, max_waiting=max_waiting, eot=EOT
        )
        self.runner = FakeModelRunner(next_token)

    def add(self, prompt: Sequence[int], max_tokens: int = ENDLESS) -> EngineSequence:
        sequence = make_sequence(prompt, max_tokens=max_tokens)
        self.scheduler.add(sequence)
        return sequence

    def step(self) -> StepPlan:
        plan = self.scheduler.schedule()
        self.scheduler.postprocess(plan, self.runner.run(plan).drawn)
        return plan


def decoded(plan: StepPlan) -> list[EngineSequence]:
    return [chunk.sequence for chunk in plan.decode]


def test_a_late_request_joins_the_running_batch():
    bench = Bench()
    early = bench.add([1])
    for _ in range(3):
        bench.step()
    late = bench.add([2, 3])
    assert [chunk.sequence for chunk in bench.step().prefill] == [late]
    assert decoded(bench.step()) == [early, late]


def test_a_long_prompt_is_read_within_the_budget_while_others_write_at_every_step():
    bench = Bench(prefill_tokens=16)
    running = bench.add([1])
    bench.step()
    long = bench.add([1] * 50)
    sizes = []
    while not long.num_completion_tokens:
        written = running.num_completion_tokens
        plan = bench.step()
        sizes.append([chunk.num_tokens for chunk in plan.prefill])
        assert running.num_completion_tokens == written + 1
    assert sizes == [[16], [16], [16], [2]]
    assert long.token_ids[50] == lasting([1] * 50)


def test_several_prompts_share_one_budget():
    bench = Bench(prefill_tokens=16)
    for length in (10, 10, 4):
        bench.add([length] * length)
    sizes = [[chunk.num_tokens for chunk in bench.step().prefill] for _ in range(2)]
    assert sizes == [[10, 6], [4, 4]]


def test_who_came_first_reads_first_whatever_slots_they_have():
    bench = Bench(num_slots=2, prefill_tokens=8)
    short = bench.add([1] * 8, max_tokens=1)
    early = bench.add([2] * 20)
    bench.step()
    assert short.status is SequenceStatus.FINISHED
    # The newcomer gets the freed slot, which is before the other's.
    late = bench.add([3] * 20)
    assert [chunk.sequence for chunk in bench.step().prefill] == [early]
    assert late.slot == 0


def test_rows_are_decoded_in_the_order_of_their_slots_whoever_came_first():
    # Neighbouring slots in order are read in place.
    bench = Bench(num_slots=3)
    first = bench.add([1], max_tokens=1)
    later = [bench.add([2]), bench.add([3])]
    bench.step()
    newcomer = bench.add([4])
    assert first.status is SequenceStatus.FINISHED
    assert decoded(bench.step()) == [newcomer, *later]


def test_a_prompt_of_one_token_needs_no_prefill():
    bench = Bench()
    sequence = bench.add([7])
    assert decoded(bench.step()) == [sequence]
    assert sequence.token_ids == [7, lasting([7])]


def test_who_finds_no_free_slot_waits_for_the_first_to_be_freed():
    bench = Bench(num_slots=2)
    first, second, third = (bench.add(prompt) for prompt in ([1], [2], [3]))
    bench.step()
    assert third.slot is None
    bench.scheduler.finish(first, None)
    bench.step()
    assert {second.slot, third.slot} == {0, 1}


def test_a_full_line_refuses_with_its_length_and_takes_again_when_one_has_left():
    bench = Bench(num_slots=1, max_waiting=2)
    bench.add([1])
    bench.step()
    waiting = [bench.add(prompt) for prompt in ([2], [3])]
    with pytest.raises(OverloadedError, match="2 requests are waiting"):
        bench.add([1])
    bench.scheduler.finish(waiting[0], None)
    bench.add([1])


def test_the_drawn_token_that_ends_a_text_is_not_part_of_it():
    bench = Bench(mixed)
    prompt = next([n] for n in range(256) if mixed([n]) == EOT)
    sequence = bench.add(prompt)
    bench.step()
    assert sequence.finish_reason is FinishReason.STOP
    assert sequence.token_ids == prompt
    assert not bench.scheduler.has_work


def test_a_sequence_ends_with_its_last_token():
    bench = Bench()
    sequence = bench.add([1], max_tokens=3)
    for _ in range(3):
        assert sequence.status is not SequenceStatus.FINISHED
        bench.step()
    assert sequence.finish_reason is FinishReason.LENGTH
    assert sequence.num_completion_tokens == 3
    assert sequence.slot is None


def test_ending_a_sequence_twice_keeps_the_first_reason_and_the_slots_of_others():
    bench = Bench(num_slots=1)
    first = bench.add([1], max_tokens=1)
    bench.step()
    second = bench.add([2])
    bench.step()
    bench.scheduler.finish(first, None)
    assert first.finish_reason is FinishReason.LENGTH
    assert second.slot == 0
    assert decoded(bench.step()) == [second]


@dataclass(frozen=True)
class Arrival:
    """One request: when it comes, what it asks for, and when it leaves again, if it does."""

    at_step: int
    prompt: tuple[int, ...]
    max_tokens: int
    leaves_after: int | None


arrivals = st.lists(
    st.builds(
        Arrival,
        st.integers(0, 12),
        st.lists(st.integers(0, 255), min_size=1, max_size=30).map(tuple),
        st.integers(1, 12),
        st.none() | st.integers(0, 8),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(arrivals, st.integers(1, 4), st.integers(1, 20))
def test_every_sequence_ends_once_with_its_own_tokens_and_every_slot_returns(
    coming: list[Arrival], num_slots: int, prefill_tokens: int
):
    bench = Bench(mixed, num_slots=num_slots, prefill_tokens=prefill_tokens)
    present: dict[EngineSequence, Arrival] = {}
    ended: dict[EngineSequence, list[int]] = {}
    step = 0
    while step <= 12 or bench.scheduler.has_work:
        for arrival in (each for each in coming if each.at_step == step):
            present[bench.add(arrival.prompt, arrival.max_tokens)] = arrival
        for sequence, arrival in present.items():
            leaves = arrival.leaves_after
            if leaves is not None and step == arrival.at_step + leaves:
                bench.scheduler.finish(sequence, None)
        plan = bench.step()
        assert sum(chunk.num_tokens for chunk in plan.prefill) <= prefill_tokens
        planned = {chunk.sequence for chunk in plan.prefill + plan.decode}
        assert len(planned) <= num_slots
        assert not planned & ended.keys()
        for sequence in present:
            if sequence.status is SequenceStatus.FINISHED and sequence not in ended:
                ended[sequence] = list(sequence.token_ids)
        step += 1
        assert step < 1000, "it never ends"
    assert ended.keys() == present.keys()
    for sequence, arrival in present.items():
        assert sequence.token_ids == ended[sequence]
        whole, reason = written_alone(arrival.prompt, arrival.max_tokens)
        if sequence.finish_reason is None:
            assert arrival.leaves_after is not None
            assert whole[: len(sequence.token_ids)] == sequence.token_ids
        else:
            assert (sequence.token_ids, sequence.finish_reason) == (whole, reason)
    last = [bench.add([1, 2]) for _ in range(num_slots)]
    bench.scheduler.schedule()
    assert {sequence.slot for sequence in last} == set(range(num_slots))
