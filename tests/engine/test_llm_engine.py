"""LLMEngine: steps in, whole texts out, each with the reason why it ended."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.errors import InvalidRequestError, OverloadedError, PromptTooLongError
from engine.llm_engine import LLMEngine
from engine.model_runner import NoNumberError, TorchModelRunner
from engine.scheduler import Scheduler
from engine.sequence import Scoring, Sequence
from engine.watermark import WatermarkKey
from tests.engine.marked import KEY
from tests.engine.models import TINY, make_model
from tests.engine.support import (
    EOT,
    N_VOCAB,
    FakeModelRunner,
    byte_tokenizer,
    forever_a,
    make_engine,
    make_params,
    replies,
)
from wire.jobs import FinishReason

POISONED = "a long prompt, and poisoned"


def engine_of(texts: dict[str, str | bytes | list[int]], **sizes: Any) -> LLMEngine:
    return make_engine(FakeModelRunner(replies(texts)), **sizes)


def run(engine: LLMEngine) -> dict[Sequence, tuple[str, list[FinishReason]]]:
    """Step to the end; give each sequence's text and its reasons, which should be one."""
    found: dict[Sequence, tuple[str, list[FinishReason]]] = {}
    for _ in range(1000):
        if not engine.has_work:
            return found
        for output in engine.step():
            text, reasons = found.get(output.sequence, ("", []))
            if output.finish_reason is not None:
                reasons = [*reasons, output.finish_reason]
            found[output.sequence] = text + output.text, reasons
    pytest.fail("it never ends")


def test_end_of_text_ends_a_reply_and_nothing_of_it_shows():
    engine = engine_of({"hi": "hello"})
    sequence = engine.add("hi", make_params())
    assert run(engine) == {sequence: ("hello", [FinishReason.STOP])}
    assert sequence.num_completion_tokens == 5


def test_end_of_text_as_the_first_token_is_an_empty_reply():
    engine = engine_of({"hi": ""})
    sequence = engine.add("hi", make_params())
    assert run(engine) == {sequence: ("", [FinishReason.STOP])}


def test_max_tokens_end_a_reply_for_its_length():
    engine = engine_of({"hi": "hello"})
    sequence = engine.add("hi", make_params(max_tokens=3))
    assert run(engine) == {sequence: ("hel", [FinishReason.LENGTH])}


def test_a_stop_string_ends_a_reply_and_is_not_shown():
    engine = engine_of({"hi": "one. two. three."})
    sequence = engine.add("hi", make_params(stop=(" three", ". t")))
    assert run(engine) == {sequence: ("one", [FinishReason.STOP])}


def test_a_stop_string_in_the_very_last_token_counts_as_a_stop():
    engine = engine_of({"hi": "abcd"})
    sequence = engine.add("hi", make_params(max_tokens=3, stop=("bc",)))
    assert run(engine) == {sequence: ("a", [FinishReason.STOP])}


def test_the_slot_of_a_stopped_reply_is_free_at_the_next_step():
    engine = engine_of({"hi": "ab" * 20, "there": "yes"}, num_slots=1)
    engine.add("hi", make_params(stop=("b",)))
    second = engine.add("there", make_params())
    assert run(engine)[second] == ("yes", [FinishReason.STOP])


@pytest.mark.parametrize("reason", ["length", "stop"])
def test_what_was_held_back_for_a_stop_string_is_shown_at_the_end(reason: str):
    engine = engine_of({"hi": "ok\n\nUs"})
    max_tokens = 6 if reason == "length" else 16
    sequence = engine.add("hi", make_params(max_tokens=max_tokens, stop=("\n\nUser:",)))
    assert run(engine) == {sequence: ("ok\n\nUs", [FinishReason(reason)])}


def test_a_character_cut_off_by_max_tokens_is_a_replacement_character():
    engine = engine_of({"hi": "é🤖"})
    sequence = engine.add("hi", make_params(max_tokens=4))
    assert run(engine) == {sequence: ("é\ufffd", [FinishReason.LENGTH])}


def test_the_text_of_a_reply_is_the_decoding_of_its_tokens():
    ids = [*range(0, 256, 7), *"naïve 🤖 日本".encode(), 0xF0, 0x9F]
    engine = engine_of({"hi": ids})
    sequence = engine.add("hi", make_params(max_tokens=1000))
    [(text, reasons)] = run(engine).values()
    written = sequence.token_ids[sequence.num_prompt_tokens :]
    assert written == ids
    assert (text, reasons) == (byte_tokenizer().decode(ids), [FinishReason.STOP])


def test_replies_that_run_together_get_each_their_own_text():
    texts: dict[str, str | bytes | list[int]] = {f"prompt {n}": f"reply {n} " * n for n in range(9)}
    engine = engine_of(texts, num_slots=3, prefill_tokens=5, max_waiting=9)
    sequences = {
        engine.add(prompt, make_params(max_tokens=500)): text for prompt, text in texts.items()
    }
    expected = {each: (text, [FinishReason.STOP]) for each, text in sequences.items()}
    assert run(engine) == expected


def test_an_empty_prompt_is_continued_from_end_of_text():
    engine = engine_of({"": "once"})
    sequence = engine.add("", make_params())
    assert sequence.token_ids == [EOT]
    assert run(engine) == {sequence: ("once", [FinishReason.STOP])}


def test_a_prompt_that_spells_end_of_text_is_read_as_text():
    sequence = engine_of({}).add("<|endoftext|>", make_params())
    assert sequence.token_ids == list(b"<|endoftext|>")


def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers_and_the_bound():
    engine = engine_of({"x" * 40: "y"}, n_ctx=64)
    with pytest.raises(PromptTooLongError, match=r"40 tokens .* 25 are asked for.* 64 in all"):
        engine.add("x" * 40, make_params(max_tokens=25))
    assert not engine.has_work
    sequence = engine.add("x" * 40, make_params(max_tokens=24))
    assert run(engine) == {sequence: ("y", [FinishReason.STOP])}


def test_an_empty_prompt_takes_one_token_of_the_context():
    engine = engine_of({}, n_ctx=64)
    with pytest.raises(PromptTooLongError):
        engine.add("", make_params(max_tokens=64))
    engine.add("", make_params(max_tokens=63))


def test_a_prompt_that_no_utf8_can_write_is_refused_as_a_request():
    with pytest.raises(InvalidRequestError, match=r"character 2 .*lone surrogate"):
        engine_of({}).add("hi\ud800", make_params())


def test_a_full_line_refuses_and_keeps_nothing_of_the_request():
    engine = make_engine(FakeModelRunner(forever_a), num_slots=1, max_waiting=1)
    first = engine.add("a", make_params())
    with pytest.raises(OverloadedError):
        engine.add("b", make_params())
    assert run(engine) == {first: ("a" * 16, [FinishReason.LENGTH])}
    assert engine._detokenizers == {}


def test_an_aborted_reply_has_no_further_output():
    engine = make_engine(FakeModelRunner(forever_a))
    gone, stays = engine.add("a", make_params()), engine.add("b", make_params())
    engine.step()
    engine.abort(gone)
    assert run(engine) == {stays: ("a" * 15, [FinishReason.LENGTH])}
    engine.abort(gone)
    engine.abort(stays)
    assert not engine.has_work


def test_what_an_aborted_reply_had_held_back_is_given_back():
    engine = engine_of({"hi": "ok\n\nUs and more"})
    sequence = engine.add("hi", make_params(stop=("\n\nUser:",)))
    shown = "".join(output.text for _ in range(6) for output in engine.step())
    assert shown == "ok"
    assert engine.abort(sequence) == "\n\nUs"
    assert engine.abort(sequence) == ""


def test_a_prompt_may_be_ids():
    engine = engine_of({"hi": "x"})
    sequence = engine.add(list(b"hi"), make_params())
    assert run(engine) == {sequence: ("x", [FinishReason.STOP])}
    with pytest.raises(InvalidRequestError, match=r"token id 257 is outside"):
        engine.add([257], make_params())


@pytest.mark.parametrize("prompt", ["a", "a longer prompt"])
def test_a_reply_of_no_tokens_ends_when_its_prompt_is_read(prompt: str):
    runner = FakeModelRunner(forever_a)
    engine = make_engine(runner, prefill_tokens=4, num_slots=1)
    sequence = engine.add(prompt, make_params(max_tokens=0))
    assert run(engine) == {sequence: ("", [FinishReason.LENGTH])}
    assert sequence.token_ids == list(prompt.encode())
    assert len(runner.plans) == -(-len(prompt) // 4)
    assert not any(plan.sampled for plan in runner.plans)


def test_a_reply_aborted_while_it_waits_never_runs():
    runner = FakeModelRunner(forever_a)
    engine = make_engine(runner, num_slots=1)
    engine.add("a", make_params())
    waiting = engine.add("b", make_params())
    engine.abort(waiting)
    run(engine)
    assert all(chunk.sequence is not waiting for plan in runner.plans for chunk in plan.sampled)


def poisoned_engine(
    *, watermark: WatermarkKey | None = None, prefill_tokens: int = 64
) -> LLMEngine:
    """A real model that overflows while it reads as many tokens at once as `POISONED` has."""
    model = make_model()

    def overflow(_module: nn.Module, _inputs: object, found: Tensor) -> Tensor | None:
        return torch.full_like(found, torch.nan) if found.shape[1] == len(POISONED) else None

    model.get_submodule("h.0.attn.c_attn").register_forward_hook(overflow)
    runner = TorchModelRunner(model, num_slots=3, n_vocab=N_VOCAB, watermark=watermark)
    scheduler = Scheduler(num_slots=3, prefill_tokens=prefill_tokens, max_waiting=3, eot=EOT)
    return LLMEngine(runner, scheduler, byte_tokenizer(), n_ctx=TINY.n_ctx)


def fail_at_poison(engine: LLMEngine, prompt: str = POISONED, **fields: Any) -> None:
    poisoned = engine.add(prompt, make_params(max_tokens=fields.pop("max_tokens", 16)), **fields)
    with pytest.raises(NoNumberError, match="no number") as failed:
        engine.step()
    assert failed.value.sequences == [poisoned]
    engine.abort(poisoned)


def write_two(engine: LLMEngine) -> list[list[int]]:
    # The shorter one gets the first slot, and shares steps that see more of it than it has.
    prompts = ("a", "a prompt that is longer")
    sequences = [engine.add(each, make_params(max_tokens=8, seed=3)) for each in prompts]
    run(engine)
    return [sequence.token_ids for sequence in sequences]


def test_what_is_no_number_reaches_neither_its_neighbours_nor_who_gets_its_slot():
    engine = poisoned_engine()
    before = write_two(engine)
    beside = [engine.add(each, make_params(max_tokens=8, seed=3)) for each in ("a", "b")]
    fail_at_poison(engine)
    run(engine)
    assert beside[0].token_ids == before[0]
    fail_at_poison(engine)
    assert write_two(engine) == before


@pytest.mark.parametrize(
    ("prefill_tokens", "more", "fields"),
    [
        pytest.param(64, "", {"max_tokens": 0}, id="that is only read"),
        pytest.param(64, "", {"max_tokens": 0, "scoring": Scoring(prompt=True)}, id="scored"),
        pytest.param(len(POISONED), " and more", {}, id="with more to read"),
    ],
)
def test_a_prompt_of_which_nothing_is_drawn_leaves_nothing_that_is_no_number(
    prefill_tokens: int, more: str, fields: dict[str, Any]
):
    engine = poisoned_engine(prefill_tokens=prefill_tokens)
    before = write_two(engine)
    fail_at_poison(engine, POISONED + more, **fields)
    assert write_two(engine) == before


def test_a_prompt_whose_scores_alone_are_no_numbers_is_lost():
    model = make_model()
    # Of a token that is not in it: all that stands in the cache are numbers.
    model.wte.weight[ord("b")] = torch.nan
    runner = TorchModelRunner(model, num_slots=1, n_vocab=N_VOCAB)
    scheduler = Scheduler(num_slots=1, prefill_tokens=64, max_waiting=1, eot=EOT)
    engine = LLMEngine(runner, scheduler, byte_tokenizer(), n_ctx=TINY.n_ctx)
    fail_at_poison(engine, "a prompt", max_tokens=0, scoring=Scoring(prompt=True))


def test_a_marked_reply_is_the_same_beside_what_is_no_number():
    engine = poisoned_engine(watermark=KEY)

    def write(*, poisoned_step: int | None = None) -> list[int]:
        sequence = engine.add("a", make_params(max_tokens=20, seed=3, temperature=1.5))
        for step in range(20):
            if step == poisoned_step:
                fail_at_poison(engine)
            engine.step()
        assert not engine.has_work
        return sequence.token_ids

    assert write(poisoned_step=10) == write()
