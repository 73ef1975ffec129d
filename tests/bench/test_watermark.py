"""The watermark's measurements: that what is done to texts is what is said, and so the counting."""

import random
from typing import Any, cast

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from transformers import GPT2Config, SynthIDTextWatermarkingConfig, WatermarkDetector

from bench.watermark import human
from bench.watermark.attacks import (
    ATTACKS,
    alternate,
    cut_middle,
    damaged,
    delete_words,
    replace_words,
    surround,
)
from bench.watermark.false_positives import exact_p_value
from bench.watermark.figures import Mean, Share, distinct, found, repetition
from bench.watermark.peers import CPU, Kirchenbauer, SynthID, new_contexts
from bench.watermark.writing import ROWS, Shelf, context_tokens, key_of, make_key
from engine.watermark import CONTEXT_TOKENS, find_mark

N_VOCAB = 200
TEXT = " ".join(f"word{number}" for number in range(100)) + "\n\nThe end."
needs_human_texts = pytest.mark.skipif(bool(human.missing()), reason="../shared/data is not here")


@pytest.fixture
def invented_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(human, "words", lambda: tuple(f"other{number}" for number in range(500)))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_as_many_words_are_replaced_as_is_said_and_no_white_space(share: float, invented_words):
    changed = replace_words(TEXT, share, random.Random(0))
    pairs = list(zip(TEXT.split(), changed.split(), strict=True))
    assert sum(old != new for old, new in pairs) == round(share * len(pairs))
    assert all(new.startswith("other") for old, new in pairs if old != new)
    assert changed.count("\n\n") == 1


def test_as_many_words_are_deleted_as_is_said_and_the_others_keep_their_order():
    left = delete_words(TEXT, 0.2, random.Random(0)).split()
    words = TEXT.split()
    assert len(left) == len(words) - round(0.2 * len(words))
    assert left == [word for word in words if word in set(left)]


def test_the_middle_half_is_cut_out():
    assert cut_middle(TEXT).split() == TEXT.split()[:25] + TEXT.split()[-25:]


def test_human_words_are_as_many_as_those_of_the_text_they_are_put_around(invented_words):
    around = surround(TEXT, random.Random(0))
    assert TEXT in around
    between = alternate(TEXT, random.Random(0))
    assert [word for word in between.split() if not word.startswith("other")] == TEXT.split()
    for mixed in (around, between):
        others = sum(word.startswith("other") for word in mixed.split())
        assert abs(others - len(TEXT.split())) <= 20


def test_an_attack_is_the_same_each_time_and_another_for_another_text(invented_words):
    for attack in ATTACKS:
        assert damaged(TEXT, attack, 3) == damaged(TEXT, attack, 3)
    assert damaged(TEXT, "20 % of the words replaced", 3) != damaged(
        TEXT, "20 % of the words replaced", 4
    )


def test_an_interval_of_a_share_is_the_exact_one():
    none = Share.of(0, 30)
    assert none.low == 0
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 30))
    assert found([1e-9, 0.5, 1e-6], 1e-6).hits == 1


def test_an_interval_of_a_mean_holds_it_in_most_samples():
    rng = random.Random(0)
    samples = [[rng.gauss(3, 1) for _ in range(40)] for _ in range(60)]
    means = [Mean.of(sample, resamples=300) for sample in samples]
    assert 50 <= sum(mean.low <= 3 <= mean.high for mean in means) < 60


def test_repetition_counts_what_stood_there_before():
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert distinct([5, 5, 5, 5], 2) == pytest.approx(1 / 3)


def test_p_values_before_the_correction_are_uniform():
    rng = random.Random(2)
    texts = [[rng.randrange(N_VOCAB) for _ in range(40)] for _ in range(250)]
    values = [exact_p_value(ids, make_key(str(place))) for place, ids in enumerate(texts)]
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_another_length_of_context_is_looked_for_and_then_the_own_one_again():
    ids = list(range(50))
    with context_tokens(2):
        assert find_mark(ids, key_of(0)).num_scored == 48
    assert find_mark(ids, key_of(0)).num_scored == 50 - CONTEXT_TOKENS


def test_texts_are_written_once(tmp_path):
    shelf = Shelf(tmp_path)
    batches: list[int] = []

    def write(batch: int) -> list[list[int]]:
        batches.append(batch)
        return [[batch, row] for row in range(ROWS)]

    first = shelf.texts("some", ROWS, write)
    assert shelf.texts("some", 2 * ROWS, write)[:ROWS] == first
    assert batches == [0, 1]


def test_synthid_over_the_tokens_that_are_left_is_synthid_over_all():
    ours = SynthID().config(3)
    theirs = SynthIDTextWatermarkingConfig(ngram_len=ours.ngram_len, keys=ours.keys)
    narrow, whole = (each.construct_processor(N_VOCAB, CPU) for each in (ours, theirs))
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(3, (4, 2), generator=rng)
    for _ in range(15):
        scores = torch.randn(4, N_VOCAB, generator=rng)
        scores = scores.masked_fill(scores < scores.topk(40).values[:, -1:], -torch.inf)
        pair = [processor(ids, scores).softmax(-1) for processor in (narrow, whole)]
        torch.testing.assert_close(pair[0], pair[1])
        assert not torch.allclose(pair[0], scores.softmax(-1)) or len(ids[0]) > 6
        # So few tokens that contexts repeat, which have to be left alone.
        ids = torch.cat([ids, torch.randint(3, (4, 1), generator=rng)], dim=1)


def test_green_tokens_are_counted_as_the_librarys_detector_counts_them():
    peer = Kirchenbauer(N_VOCAB)
    config = GPT2Config(vocab_size=N_VOCAB, bos_token_id=N_VOCAB - 1)
    detector = WatermarkDetector(config, "cpu", peer.config(1), ignore_repeated_ngrams=True)
    rng = random.Random(0)
    for _ in range(3):
        ids = [rng.randrange(40) for _ in range(120)]
        counted: Any = detector(cast("torch.LongTensor", torch.tensor([ids])), return_dict=True)
        assert peer.counts(ids, 1) == (counted.num_tokens_scored[0], counted.num_green_tokens[0])


def test_contexts_are_new_where_synthids_own_mask_says_so():
    rng = random.Random(0)
    ids = [rng.randrange(3) for _ in range(100)]
    processor: Any = SynthID().config(0).construct_processor(N_VOCAB, CPU)
    mask = processor.compute_context_repetition_mask(torch.tensor([ids]))[0].tolist()
    assert new_contexts(ids) == mask
    assert 10 < sum(mask) < 90


@pytest.mark.parametrize("peer", [Kirchenbauer(N_VOCAB), SynthID()], ids=lambda peer: peer.name)
def test_a_peers_p_values_are_small_for_few_unmarked_texts(peer):
    rng = random.Random(0)
    texts = [[rng.randrange(N_VOCAB) for _ in range(60)] for _ in range(100)]
    values = [peer.p_value(ids, 1) for ids in texts]
    assert 2 <= sum(value < 0.1 for value in values) <= 20
    assert min(values) > 1e-6


@needs_human_texts
def test_windows_of_human_text_have_the_lengths_in_turn():
    class Words:
        def encode(self, text: str) -> list[int]:
            return list(range(len(text) // 5000))

    lengths = [len(ids) for ids in human.windows(Words(), (5, 10), 20)]  # type: ignore[arg-type]
    assert lengths[:4] == [5, 10, 5, 10]
    assert len(lengths) > 10
