"""Owns the Children's Book Test: which of ten words was left out of a sentence.

A question is 20 numbered sentences of a book, then `21 query<TAB>answer<TAB><TAB>word|word|…`,
where XXXXX stands in the query for what was left out. Each candidate is put in its place, and the
one for which it and the rest of the sentence are most probable, given all that stands before, is
the answer (Hill et al. 2016, section 4.4; Radford et al. 2019, section 3.2). The sentences follow
each other after a space; nothing stands before the first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.evaluate.detokenize import cbt_line
from engine.evaluate.task import (
    InvalidDataError,
    Metric,
    Prepared,
    Request,
    Scores,
    Setting,
    continuation,
    read_text,
    share,
)

BLANK = "XXXXX"
NUM_SENTENCES = 20


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its tokenisation undone."""

    line: int
    """Where the query stands in the file."""
    before: str
    """All that stands before the blank, without a space at its end."""
    after: str
    space: str
    """What separates the blank from the text before it: a space or nothing."""
    candidates: tuple[str, ...]
    answer: int


def prepare(path: Path, setting: Setting) -> Prepared:
    """Prepare a file of the Children's Book Test.

    Raises:
        InvalidDataError: it is not in the format of one, or a sentence exceeds the context.
    """
    questions = list(read_questions(path))[: setting.limit]
    requests = [request for question in questions for request in _ask(path, question, setting)]
    return Prepared(
        requests,
        partial(measure, questions),
        {"questions": len(questions), "candidates": len(requests)},
        {
            "scored": "the candidate and the rest of its sentence, given all before",
            "normalisation": "none: the sum of log-probabilities is compared",
            "detokenizer": cbt_line.__name__,
            "begins_with": "the first sentence",
            "context": setting.n_ctx,
        },
    )


def measure(questions: Sequence[Question], scores: Sequence[Scores]) -> list[Metric]:
    """Compare the candidates of each question; of equals the first wins."""
    totals = iter([score.total for score in scores])
    right = []
    for question in questions:
        own = [next(totals) for _ in question.candidates]
        right.append(own.index(max(own)) == question.answer)
    return [Metric("accuracy", share(right), "% of questions answered")]


def read_questions(path: Path) -> Iterator[Question]:
    """Read the questions of a file, one after the other.

    Raises:
        InvalidDataError: a line is not what should stand there.
    """
    sentences: list[str] = []
    number = 0
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        index, _, rest = line.strip(" \r").partition(" ")
        if index != str(len(sentences) + 1):
            problem = f"expected sentence {len(sentences) + 1} of a question, not {line[:40]!r}"
            raise InvalidDataError(path, number, problem)
        if len(sentences) < NUM_SENTENCES:
            sentences.append(cbt_line(rest))
            continue
        yield _question(path, number, sentences, rest)
        sentences = []
    if sentences:
        problem = f"the file ends after {len(sentences)} sentences of a question and no query"
        raise InvalidDataError(path, number, problem)


def _question(path: Path, number: int, sentences: list[str], line: str) -> Question:
    query, answer, _, listed, *_ = [*line.split("\t"), "", "", ""][:5]
    candidates = listed.split("|")
    if query.count(BLANK) != 1:
        raise InvalidDataError(path, number, f"the query must hold {BLANK} once")
    if len(candidates) < 2 or answer not in candidates:
        problem = "expected: query, tab, answer, two tabs, candidates between bars, one the answer"
        raise InvalidDataError(path, number, problem)
    before, _, after = cbt_line(query).partition(BLANK)
    text = " ".join([*sentences, before])
    kept = text.rstrip(" ")
    if not kept:
        raise InvalidDataError(path, number, f"there is no word before {BLANK}")
    return Question(
        line=number,
        before=kept,
        after=after,
        space=text[len(kept) :],
        candidates=tuple(cbt_line(candidate) for candidate in candidates),
        answer=candidates.index(answer),
    )


def _ask(path: Path, question: Question, setting: Setting) -> Iterator[Request]:
    context = setting.tokenizer.encode(question.before)
    for candidate in question.candidates:
        scored = setting.tokenizer.encode(f"{question.space}{candidate}{question.after}")
        if len(scored) > setting.n_ctx:
            problem = f"the sentence is {len(scored)} tokens long, and the context {setting.n_ctx}"
            raise InvalidDataError(path, question.line, problem)
        yield continuation(context, scored, setting.n_ctx)
