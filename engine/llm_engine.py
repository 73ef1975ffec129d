"""Owns the step: schedule, run, postprocess, detokenize. Synchronous; knows no threads or doors."""

from collections.abc import Sequence as Seq

from codec.bpe import Tokenizer
from engine.detokenizer import Detokenizer
from engine.errors import InvalidRequestError, PromptTooLongError
from engine.model_runner import ModelRunner, StepResult
from engine.provenance import Maker
from engine.scheduler import Chunk, Scheduler
from engine.sequence import Scoring, Sequence, StepOutput
from wire.jobs import FinishReason, SamplingParams


class LLMEngine:
    """Run many sequences through one model, step by step.

    Args:
        runner: computes the steps.
        scheduler: decides what is in them.
        tokenizer: of the model.
        n_ctx: the model's context in tokens.
        maker: what is said to have written its texts; None where nobody is told.
    """

    def __init__(
        self,
        runner: ModelRunner,
        scheduler: Scheduler,
        tokenizer: Tokenizer,
        *,
        n_ctx: int,
        maker: Maker | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.maker = maker
        self._runner = runner
        self._scheduler = scheduler
        self._n_ctx = n_ctx
        self._detokenizers: dict[Sequence, Detokenizer] = {}

    @property
    def has_work(self) -> bool:
        """Return whether another step has anything to do."""
        return self._scheduler.has_work

    def encode(self, prompt: str | Seq[int], max_tokens: int) -> list[int]:
        """Return a prompt's ids, at least one. Changes nothing, so any thread may ask.

        Raises:
            InvalidRequestError: the prompt cannot be written in UTF-8, or an id is no token.
            PromptTooLongError: prompt and reply together exceed the context.
        """
        try:
            if isinstance(prompt, str):
                ids = self.tokenizer.encode(prompt)
            else:
                self.tokenizer.decode_bytes(prompt)
                ids = list(prompt)
        except ValueError as error:
            msg = f"The prompt cannot be read: {error}."
            raise InvalidRequestError(msg) from error
        ids = ids or [self.tokenizer.eot]
        if len(ids) + max_tokens > self._n_ctx:
            msg = (
                f"The prompt is {len(ids)} tokens long and {max_tokens} are asked for, "
                f"but the model can hold {self._n_ctx} in all. Shorten one of them."
            )
            raise PromptTooLongError(msg)
        return ids

    def add(
        self, prompt: str | Seq[int], params: SamplingParams, scoring: Scoring | None = None
    ) -> Sequence:
        """Put a prompt, as text or ids, into the line; an empty one is an unconditional sample.

        Raises:
            InvalidRequestError, PromptTooLongError: as `encode`.
            OverloadedError: the line is full.
        """
        sequence = Sequence(self.encode(prompt, params.max_tokens), params, scoring)
        self._scheduler.add(sequence)
        self._detokenizers[sequence] = Detokenizer(self.tokenizer, params.stop)
        return sequence

    def abort(self, sequence: Sequence) -> str:
        """Free a sequence's place; it has no further output. Harmless when it has ended.

        Returns:
            The text that was still held back, because it might have begun a stop string.
        """
        self._scheduler.finish(sequence, None)
        detokenizer = self._detokenizers.pop(sequence, None)
        return detokenizer.flush() if detokenizer is not None else ""

    def step(self) -> list[StepOutput]:
        """Run one step and return what it did to each sequence that has something new.

        Raises:
            NoNumberError: for sequences that can but be aborted; the others are as they were.
        """
        plan = self._scheduler.schedule()
        result = self._runner.run(plan)
        self._scheduler.postprocess(plan, result.drawn)
        outputs = (self._output(chunk, result) for chunk in plan.prefill + plan.decode)
        return [output for output in outputs if output is not None]

    def _output(self, chunk: Chunk, result: StepResult) -> StepOutput | None:
        sequence = chunk.sequence
        reason = sequence.finish_reason
        scores = result.scores.get(sequence, ())
        if not (chunk.samples or scores or reason):
            return None
        detokenizer = self._detokenizers[sequence]
        text = ""
        # A sequence that drew end-of-text gained no token.
        if chunk.samples and reason is FinishReason.STOP:
            scores = scores[:-1]
        elif chunk.samples:
            text, stopped = detokenizer.push(sequence.token_ids[-1])
            if stopped:
                reason = FinishReason.STOP
                self._scheduler.finish(sequence, reason)
        if reason is not None:
            text += detokenizer.flush()
            del self._detokenizers[sequence]
        return StepOutput(sequence, text, reason, scores)
