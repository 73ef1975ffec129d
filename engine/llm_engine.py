"""Owns the step: schedule, run, postprocess, detokenize. Synchronous; knows no threads or doors."""

from codec.bpe import Tokenizer
from engine.detokenizer import Detokenizer
from engine.errors import InvalidRequestError, PromptTooLongError
from engine.model_runner import ModelRunner
from engine.scheduler import Scheduler
from engine.sequence import Sequence, StepOutput
from wire.jobs import FinishReason, SamplingParams


class LLMEngine:
    """Run many sequences through one model, step by step.

    Args:
        runner: computes the steps.
        scheduler: decides what is in them.
        tokenizer: of the model.
        n_ctx: the model's context in tokens.
    """

    def __init__(
        self, runner: ModelRunner, scheduler: Scheduler, tokenizer: Tokenizer, *, n_ctx: int
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._tokenizer = tokenizer
        self._n_ctx = n_ctx
        self._detokenizers: dict[Sequence, Detokenizer] = {}

    @property
    def has_work(self) -> bool:
        """Return whether another step has anything to do."""
        return self._scheduler.has_work

    def add(self, prompt: str, params: SamplingParams) -> Sequence:
        """Encode a prompt and put it into the line; an empty one is an unconditional sample.

        Raises:
            InvalidRequestError: the prompt cannot be written in UTF-8.
            PromptTooLongError: prompt and reply together exceed the context.
            OverloadedError: the line is full.
        """
        try:
            ids = self._tokenizer.encode(prompt) or [self._tokenizer.eot]
        except ValueError as error:
            msg = f"The prompt cannot be read: {error}."
            raise InvalidRequestError(msg) from error
        if len(ids) + params.max_tokens > self._n_ctx:
            msg = (
                f"The prompt is {len(ids)} tokens long and {params.max_tokens} are asked for, "
                f"but the model can hold {self._n_ctx} in all. Shorten one of them."
            )
            raise PromptTooLongError(msg)
        sequence = Sequence(ids, params)
        self._scheduler.add(sequence)
        self._detokenizers[sequence] = Detokenizer(self._tokenizer, params.stop)
        return sequence

    def abort(self, sequence: Sequence) -> None:
        """Free a sequence's place; it has no further output. Harmless when it has ended."""
        self._scheduler.finish(sequence, None)
        self._detokenizers.pop(sequence, None)

    def step(self) -> list[StepOutput]:
        """Run one step and return what it did to each sequence that got a token."""
        plan = self._scheduler.schedule()
        drawn = self._runner.run(plan)
        self._scheduler.postprocess(plan, drawn)
        return [self._output(chunk.sequence) for chunk in plan.sampled]

    def _output(self, sequence: Sequence) -> StepOutput:
        detokenizer = self._detokenizers[sequence]
        reason = sequence.finish_reason
        text = ""
        # A sequence that drew end-of-text gained no token.
        if reason is not FinishReason.STOP:
            text, stopped = detokenizer.push(sequence.token_ids[-1])
            if stopped:
                reason = FinishReason.STOP
                self._scheduler.finish(sequence, reason)
        if reason is not None:
            text += detokenizer.flush()
            del self._detokenizers[sequence]
        return StepOutput(sequence, text, reason)
