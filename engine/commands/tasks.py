"""Owns the prompts by which the GPT-2 paper asks for a task, and what of the answer counts.

Plain text in, plain text out: knows no model. Source: Radford et al. 2019, sections 3.5 to 3.8.
The paper gives the format of a translation's pairs, `TL;DR:` and the last `A:`; how it laid out
questions it does not say, so ours begin with `Q:`. Its own example pairs were not published.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.commands.prompts import Prompt, end_of_sentence

Pair = tuple[str, str]

ENGLISH_FRENCH: tuple[Pair, ...] = (
    ("The house is near the river.", "La maison est près de la rivière."),
    ("I have never seen this film.", "Je n'ai jamais vu ce film."),
    ("Where is the railway station?", "Où est la gare ?"),
    ("She reads the newspaper every morning.", "Elle lit le journal tous les matins."),
    ("We will leave tomorrow if it does not rain.", "Nous partirons demain s'il ne pleut pas."),
    ("The children are playing in the garden.", "Les enfants jouent dans le jardin."),
    ("He bought bread, cheese and two apples.", "Il a acheté du pain, du fromage et deux pommes."),
    ("The meeting begins at nine o'clock.", "La réunion commence à neuf heures."),
)
QUESTIONS_ANSWERS: tuple[Pair, ...] = (
    ("What is the capital of Japan?", "Tokyo"),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci"),
    ("In what year did people first walk on the Moon?", "1969"),
    ("What is the chemical symbol for gold?", "Au"),
    ("How many strings does a violin have?", "four"),
    ("Which planet is closest to the Sun?", "Mercury"),
    ("Who wrote Pride and Prejudice?", "Jane Austen"),
    ("What is the longest river in South America?", "the Amazon"),
)


TaskName = Literal["summarize", "translate-fr-en", "translate-en-fr", "qa", "coqa"]


@dataclass(frozen=True, slots=True)
class Task:
    """How one task is asked.

    Attributes:
        build: makes the prompt of an input and of example pairs.
        decoding: the settings of the paper, by option.
        num_sentences: of the answer that count; 0: its first line.
        examples: pairs that are shown first; empty where the task takes none.
    """

    build: Callable[[str, tuple[Pair, ...]], Prompt]
    decoding: Mapping[str, Any]
    num_sentences: int
    examples: tuple[Pair, ...] = ()

    def keep(self, written: str) -> tuple[str, bool]:
        r"""Return what of the model's text counts so far, and whether that is all of it.

        >>> TASKS["qa"].keep(" Paris\nQ: What")
        ('Paris', True)
        """
        end = None
        if self.num_sentences:
            end = end_of_sentence(written, self.num_sentences)
        elif found := re.search(r"(?<=\S)\s*\n", written):
            end = found.start()
        return written[:end].strip(), end is not None


def read_examples(text: str) -> tuple[Pair, ...]:
    r"""Read example pairs: one a line, its two sides parted by a tab.

    >>> read_examples("un chat\ta cat\n")
    (('un chat', 'a cat'),)

    Raises:
        ValueError: a line has not exactly one tab, or a side is empty, or there is no line.
    """
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        sides = [side.strip() for side in line.split("\t")]
        if line.strip():
            if len(sides) != 2 or not all(sides):
                msg = f"line {number} of the examples is not two texts with a tab between them"
                raise ValueError(msg)
            pairs.append((sides[0], sides[1]))
    if not pairs:
        msg = "the file of examples holds none"
        raise ValueError(msg)
    return tuple(pairs)


def _summarize(text: str, _: tuple[Pair, ...]) -> Prompt:
    return Prompt(text, (), "\nTL;DR:")


def _translate(text: str, pairs: tuple[Pair, ...]) -> Prompt:
    examples = tuple(f"{source} = {target}\n" for source, target in pairs)
    return Prompt("", examples, f"{_one_line(text)} =")


def _answer(text: str, pairs: tuple[Pair, ...]) -> Prompt:
    examples = tuple(f"Q: {question}\nA: {answer}\n" for question, answer in pairs)
    return Prompt("", examples, f"Q: {_one_line(text)}\nA:")


def _converse(text: str, _: tuple[Pair, ...]) -> Prompt:
    document, *turns = (part.strip() for part in re.split(r"^(?=Q:)", text, flags=re.MULTILINE))
    *answered, last = turns or [""]
    question = last.removesuffix("A:").rstrip()
    if not document or not last or "\nA:" in question or not all("\nA:" in t for t in answered):
        msg = (
            "the input of coqa is a document and, below it, the conversation: lines that begin "
            "with Q: and A: in turn, of which the last one is a question"
        )
        raise ValueError(msg)
    turns = [f"\n{turn}" for turn in answered]
    return Prompt(document, tuple(turns), f"\n{question}\nA:", parts_are="turns")


def _one_line(text: str) -> str:
    return " ".join(text.split())


GREEDY = {"temperature": 0.0}
TASKS: Mapping[TaskName, Task] = {
    # Section 3.6.
    "summarize": Task(_summarize, {"length": 100, "top_k": 2}, num_sentences=3),
    # Section 3.7; the paper names no length, and a sentence is shorter than this.
    "translate-en-fr": Task(
        _translate, {**GREEDY, "length": 100}, num_sentences=1, examples=ENGLISH_FRENCH
    ),
    "translate-fr-en": Task(
        _translate,
        {**GREEDY, "length": 100},
        num_sentences=1,
        examples=tuple((french, english) for english, french in ENGLISH_FRENCH),
    ),
    # Section 3.8: short answers.
    "qa": Task(_answer, {**GREEDY, "length": 32}, num_sentences=0, examples=QUESTIONS_ANSWERS),
    # Section 3.5.
    "coqa": Task(_converse, {**GREEDY, "length": 32}, num_sentences=0),
}
