"""What the demo model writes, marked or not, and what a person wrote."""

from engine.llm_engine import LLMEngine
from engine.loading import load_engine
from engine.watermark import WatermarkKey
from tests.end_to_end.stack import REPOSITORY
from tests.engine.models import CPU
from tests.engine.support import make_params

DEMO = REPOSITORY / "models" / "demo"
HUMAN = (
    "The ferry leaves at seven, and whoever wants to be on it should not wait for the rain to "
    "stop. My aunt used to say that weather is for people with umbrellas. She carried two, lent "
    "one to every stranger she met, and never asked for it back; by the end of each winter half "
    "the town walked under her name. When she died, they came with forty umbrellas, all of them "
    "black but one, and stood at the grave while the sun was shining as it had not for weeks."
)


def engine_with(key: WatermarkKey | None, num_slots: int = 3) -> LLMEngine:
    sizes = {"num_slots": num_slots, "prefill_tokens": 512, "max_waiting": num_slots}
    return load_engine(DEMO, CPU, **sizes, watermark=key)[0]


def write(engine: LLMEngine, prompt: str, *seeds: int, **params: object) -> list[str]:
    sequences = [engine.add(prompt, make_params(seed=seed, **params)) for seed in seeds]
    texts = dict.fromkeys(sequences, "")
    while engine.has_work:
        for output in engine.step():
            texts[output.sequence] += output.text
    return list(texts.values())
