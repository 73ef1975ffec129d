"""Owns the samples that a model in training writes, each under its label. Knows no losses."""

from codec.bpe import Tokenizer
from engine.label import label, visible
from engine.llm_engine import LLMEngine
from engine.model import GPT2
from engine.model_runner import TorchModelRunner
from engine.scheduler import Scheduler
from wire.jobs import SamplingParams


class SampleWriter:
    """Write what the model would say, as it stands.

    Args:
        model: in training; it is left in the mode for inference.
        tokenizer: the model's.
        name: what the model will be called.
        prompt: what every sample continues; empty: nothing.
        length: tokens in a sample, at most.
        seed: the same for every sample, so that they differ by what was learnt.

    Raises:
        InvalidRequestError: prompt and sample do not fit into the model's context.
    """

    def __init__(
        self, model: GPT2, tokenizer: Tokenizer, *, name: str, prompt: str, length: int, seed: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._name = name
        self._prompt = prompt
        self._params = SamplingParams(max_tokens=length, seed=seed)
        # Now, and not hours from now: the first one also finds out whether it can be done at all.
        self._engine().add(self._prompt, self._params)

    def write(self, step: int) -> str:
        """Return a sample under the line that says what wrote it."""
        self._model.eval()
        engine = self._engine()
        engine.add(self._prompt, self._params)
        text = ""
        while engine.has_work:
            text += "".join(output.text for output in engine.step())
        return f"{label(self._name)} · step {step}\n{visible(self._prompt + text)}\n"

    def _engine(self) -> LLMEngine:
        # Made for each sample: its cache would stand in the way of training.
        n_ctx = self._model.config.n_ctx
        runner = TorchModelRunner(self._model, num_slots=1, n_vocab=self._tokenizer.n_vocab)
        scheduler = Scheduler(
            num_slots=1, prefill_tokens=n_ctx, max_waiting=1, eot=self._tokenizer.eot
        )
        return LLMEngine(runner, scheduler, self._tokenizer, n_ctx=n_ctx)
