"""Owns all that is measured in one run, in the order of its cost, and its form as JSON."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass

import torch

from bench.watermark import cost, detection, false_positives, human, plan, quality
from bench.watermark.attacks import INTACT, ONE_IN_FIVE
from bench.watermark.detection import Case, Compared
from bench.watermark.figures import Mean, Share
from bench.watermark.peers import Kirchenbauer, Peer, SynthID, written_by
from bench.watermark.plan import TARGET_LENGTH, Plan
from bench.watermark.writing import (
    Ids,
    Shelf,
    Subject,
    context_tokens,
    demo,
    key_of,
    random_124m,
    written,
)
from codec.bpe import Tokenizer
from engine.watermark import find_mark

UNMARKED = "unmarked"
CONTEXT_CASES = [
    (INTACT, 25),
    (INTACT, 50),
    (INTACT, 100),
    (INTACT, 200),
    (ONE_IN_FIVE, 100),
    (ONE_IN_FIVE, 200),
    ("40 % of the words replaced", 200),
    ("lower case, no punctuation", 200),
]
SUBKEY_CASES = [(INTACT, 25), (ONE_IN_FIVE, 100), (ONE_IN_FIVE, 200)]
COOL_CASES = [(INTACT, TARGET_LENGTH), (ONE_IN_FIVE, TARGET_LENGTH)]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ByTemperature:
    """What is found of texts of 200 tokens, by h, and what the model was left to choose from."""

    entropy: Mean
    found: dict[int, dict[Case, Share]]


@dataclass(frozen=True, slots=True)
class ByContext:
    """What another h does.

    Attributes:
        found: of the texts, by case.
        skipped: share of a text's draws that were left unmarked, their context being a repeat.
        quality: beside unmarked texts.
    """

    found: dict[Case, Share]
    skipped: Mean
    quality: quality.Quality


@dataclass(frozen=True, slots=True)
class ByRandomModel:
    """What a model of 124M's shape with random weights shows.

    Attributes:
        ids: found of the tokens as they were drawn, by length.
        cases: found of the texts, by case.
        quality: beside unmarked texts.
    """

    ids: dict[int, Share]
    cases: dict[Case, Share]
    quality: quality.Quality


@dataclass(frozen=True, slots=True)
class Results:
    """Everything; a quick run leaves the random model out."""

    machine: str
    plan: Plan
    cases: dict[Case, Share]
    random: ByRandomModel | None
    temperatures: dict[float, ByTemperature]
    contexts: dict[int, ByContext]
    subkeys: dict[int, dict[Case, Share]]
    compared: dict[str, dict[Case, Compared]]
    quality: dict[str, quality.Quality]
    false_positives: false_positives.FalsePositives
    cost: cost.Cost


@dataclass(frozen=True, slots=True)
class Texts:
    """What the demo model wrote: marked, unmarked, with each peer's mark, by temperature and h."""

    marked: list[Ids]
    unmarked: list[Ids]
    peers: dict[Peer, list[Ids]]
    variants: dict[tuple[float, int], list[Ids]]


def measure(amount: Plan, shelf: Shelf, say: Say) -> Results:
    """Write what is not written, then measure all.

    Args:
        amount: how much of everything.
        shelf: keeps the texts.
        say: is told what goes on.
    """
    subject = demo()
    say("writing")
    texts = _texts(subject, shelf, amount)
    random = _random(shelf, amount) if amount.random_texts else None
    say("true positives")
    ours = detection.ours(subject, texts.marked)
    cases = detection.by_case(ours, subject, detection.all_cases())
    subkeys = detection.by_subkeys(ours, subject, SUBKEY_CASES)
    say("peers")
    compared = _compared(subject, texts, amount)
    say("quality")
    plain = _measures(subject, texts.unmarked)
    described = _quality(subject, texts, plain, amount)
    say("h and temperature")
    contexts = _contexts(subject, texts, plain, amount)
    temperatures = _temperatures(subject, texts, amount)
    say("false positives, and costs")
    tokenizers = [subject.tokenizer]
    tokenizers += [Tokenizer.from_folder(human.VOCABULARY)] if random else []
    return Results(
        machine=_machine(),
        plan=amount,
        cases=cases,
        random=random,
        temperatures=temperatures,
        contexts=contexts,
        subkeys=subkeys,
        compared=compared,
        quality=described,
        false_positives=false_positives.measure(tokenizers, amount.stride, amount.keys),
        cost=cost.measure(subject, texts.marked, amount.rounds),
    )


def plain_data(value: object) -> object:
    """Return results as JSON can hold them: keys as text, shares and means as objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain_data(asdict(value))
    if isinstance(value, Mapping):
        return {_key(key): plain_data(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(each) for each in value]
    return value


def _key(key: object) -> str:
    return f"{key[0]}, {key[1]} tokens" if isinstance(key, tuple) else str(key)


def _machine() -> str:
    return (
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, threads: {torch.get_num_threads()}"
    )


def _texts(subject: Subject, shelf: Shelf, amount: Plan) -> Texts:
    peers: list[Peer] = [Kirchenbauer(subject.model.config.n_vocab), SynthID()]
    return Texts(
        marked=written(shelf, subject, plan.MARKED, amount.texts),
        unmarked=written(shelf, subject, plan.UNMARKED, amount.texts),
        peers={peer: written_by(peer, shelf, subject, amount.variants) for peer in peers},
        variants={
            key: written(shelf, subject, manner, amount.variants)
            for key, manner in plan.VARIANTS.items()
        },
    )


def _compared(subject: Subject, texts: Texts, amount: Plan) -> dict[str, dict[Case, Compared]]:
    schemes = [detection.ours(subject, texts.marked[: amount.variants])]
    schemes += [detection.of_peer(peer, subject, rows) for peer, rows in texts.peers.items()]
    return {
        scheme.name: detection.compare(scheme, subject, amount.human_windows) for scheme in schemes
    }


def _quality(
    subject: Subject, texts: Texts, plain: dict[str, list[float]], amount: Plan
) -> dict[str, quality.Quality]:
    described = {UNMARKED: plain, "Ovid": _measures(subject, texts.marked)}
    described |= {peer.name: _measures(subject, rows) for peer, rows in texts.peers.items()}
    return {
        name: quality.compare(values, plain, amount.resamples) for name, values in described.items()
    }


def _measures(subject: Subject, texts: Sequence[Ids]) -> dict[str, list[float]]:
    return quality.measures(quality.read(subject, texts), texts)


def _contexts(
    subject: Subject, texts: Texts, plain: dict[str, list[float]], amount: Plan
) -> dict[int, ByContext]:
    by_context = {count: texts.variants[1.0, count] for count in plan.CONTEXTS}
    shares = detection.by_context(subject, by_context, CONTEXT_CASES)
    results = {}
    for count, written_texts in sorted(by_context.items()):
        with context_tokens(count):
            skipped = [
                1 - find_mark(ids[:TARGET_LENGTH], key_of(0)).num_scored / (TARGET_LENGTH - count)
                for ids in written_texts
            ]
        compared = quality.compare(_measures(subject, written_texts), plain, amount.resamples)
        results[count] = ByContext(
            shares[count], Mean.of(skipped, resamples=amount.resamples), compared
        )
    return results


def _temperatures(subject: Subject, texts: Texts, amount: Plan) -> dict[float, ByTemperature]:
    results = {}
    for value in plan.TEMPERATURES:
        by_context = {count: texts.variants[value, count] for count in plan.COOL_CONTEXTS}
        some = next(iter(by_context.values()))
        entropies = [read.entropy for read in quality.read(subject, some, temperature=value)]
        results[value] = ByTemperature(
            Mean.of(entropies, resamples=amount.resamples),
            detection.by_context(subject, by_context, COOL_CASES),
        )
    return results


def _random(shelf: Shelf, amount: Plan) -> ByRandomModel:
    subject = random_124m()
    marked = written(shelf, subject, plan.MARKED, amount.random_texts)
    plain = _measures(subject, written(shelf, subject, plan.UNMARKED, amount.random_texts))
    ours = detection.ours(subject, marked)
    return ByRandomModel(
        ids=detection.by_ids(marked, plan.LENGTHS),
        cases=detection.by_case(ours, subject, detection.all_cases()),
        quality=quality.compare(_measures(subject, marked), plain, amount.resamples),
    )
