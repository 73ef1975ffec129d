"""The watermark: what a key decides, what it leaves alone, and what can be found afterwards.

Nothing here is left to chance: keys and seeds are fixed, so each test always ends alike.
"""

import random

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]

from engine.model_runner import TorchModelRunner
from engine.noise import seed_key, signed, uniforms
from engine.scheduler import Scheduler
from engine.sequence import Sequence
from engine.watermark import (
    CONTEXT_TOKENS,
    NUM_SUBKEYS,
    WatermarkKey,
    find_mark,
    find_marks,
    subkey_of,
    token_scores,
)
from tests.engine.models import make_model
from tests.engine.support import EOT, N_VOCAB, make_params

KEY, OTHER = WatermarkKey(bytes(range(32))), WatermarkKey(bytes(range(1, 33)))
PROMPT = list(b"hello")
LENGTH = 56


def write(seeds: range, key: WatermarkKey | None = KEY, **params: object) -> list[list[int]]:
    """What a model writes for each seed, all side by side."""
    model = make_model()
    runner = TorchModelRunner(model, num_slots=len(seeds), n_vocab=N_VOCAB, watermark=key)
    scheduler = Scheduler(num_slots=len(seeds), prefill_tokens=64, max_waiting=len(seeds), eot=-1)
    wanted = {"max_tokens": LENGTH, "temperature": 2.0, "top_k": 0, **params}
    sequences = [Sequence(list(PROMPT), make_params(seed=seed, **wanted)) for seed in seeds]
    for sequence in sequences:
        scheduler.add(sequence)
    while scheduler.has_work:
        plan = scheduler.schedule()
        scheduler.postprocess(plan, runner.run(plan).drawn)
    return [sequence.token_ids[len(PROMPT) :] for sequence in sequences]


@pytest.fixture(scope="module")
def marked() -> list[list[int]]:
    return write(range(16))


def test_a_marked_text_is_found_with_its_key_and_with_no_other(marked: list[list[int]]):
    found = [find_mark(ids, KEY).p_value for ids in marked]
    assert max(found) < 1e-6
    assert min(find_mark(ids, OTHER).p_value for ids in marked) > 1e-3


def test_without_a_key_or_when_it_is_not_wanted_nothing_is_marked():
    plain = write(range(16), None)
    assert write(range(16), KEY, watermark=False) == plain
    assert min(find_mark(ids, KEY).p_value for ids in plain) > 1e-3


def test_greedy_text_is_not_marked():
    assert write(range(2), KEY, temperature=0.0) == write(range(2), None, temperature=0.0)


def test_a_row_is_marked_alike_whatever_else_is_in_the_batch(marked: list[list[int]]):
    assert [write(range(seed, seed + 1))[0] for seed in (0, 7, 15)] == [
        marked[seed] for seed in (0, 7, 15)
    ]


def test_seeds_of_one_subkey_write_different_texts():
    same = [seed for seed in range(2000) if subkey_of(seed) == subkey_of(0)][:8]
    assert len(same) == 8
    texts = {tuple(write(range(seed, seed + 1), top_k=40)[0]) for seed in same}
    assert len(texts) == len(same)


def test_the_first_tokens_come_from_the_seed_alone(marked: list[list[int]]):
    plain = write(range(16), None)
    assert [ids[:CONTEXT_TOKENS] for ids in marked] == [ids[:CONTEXT_TOKENS] for ids in plain]
    assert all(
        ids[CONTEXT_TOKENS:] != others[CONTEXT_TOKENS:]
        for ids, others in zip(marked, plain, strict=True)
    )


def test_a_context_that_comes_again_is_not_marked_again():
    # A temperature at which this model loops: its contexts come again and again.
    [ids] = write(range(1), temperature=0.05)
    places = range(CONTEXT_TOKENS, len(ids))
    contexts = [tuple(ids[place - CONTEXT_TOKENS : place]) for place in places]
    assert len(set(contexts)) < len(contexts)
    assert find_mark(ids, KEY).num_scored == len(set(contexts))


def test_the_draw_behind_a_context_that_was_marked_before_comes_from_the_seed():
    runner = TorchModelRunner(make_model(), num_slots=1, n_vocab=N_VOCAB, watermark=KEY)
    written = [1, 2, 3, 4, 5, 1, 2, 3]
    sequence = Sequence(list(PROMPT), make_params(seed=6))
    keys = []
    for token_id in written:
        sequence.token_ids.append(token_id)
        keys.append(runner._noise_key(sequence))
        runner._remember_context(sequence)
    assert keys[:2] == [seed_key(6, place) for place in (1, 2)]
    assert keys[2] == KEY.row_key(subkey_of(6), (1, 2, 3))
    assert keys[3] == KEY.row_key(subkey_of(6), (2, 3, 4))
    assert keys[7] == seed_key(6, 8)


def test_a_text_said_twice_is_no_more_evidence_than_said_once(marked: list[list[int]]):
    once, twice = find_mark(marked[0], KEY), find_mark(marked[0] * 2, KEY)
    # Where the two meet there are a few contexts more.
    assert once.num_scored <= twice.num_scored <= once.num_scored + CONTEXT_TOKENS
    assert twice.p_value > once.p_value / 10


def test_the_mark_is_found_inside_a_much_longer_text_and_where_it_is(marked: list[list[int]]):
    rng = random.Random(0)
    before, behind = ([rng.randrange(N_VOCAB) for _ in range(700)] for _ in range(2))
    found = find_mark([*before, *marked[3], *behind], KEY)
    assert found.p_value < 1e-6
    assert 700 - 64 <= found.first < found.last <= 700 + LENGTH + 64


def test_most_marked_texts_survive_the_change_of_one_token_in_ten():
    rng = random.Random(0)
    found = 0
    for ids in write(range(16)):
        changed = [rng.randrange(N_VOCAB) if rng.random() < 0.1 else each for each in ids]
        found += find_mark(changed, KEY).p_value < 1e-6
    assert found >= 12


def test_the_score_of_text_without_the_key_has_the_law_that_the_p_value_rests_on():
    rng = random.Random(1)
    ids = [rng.randrange(N_VOCAB) for _ in range(4000)]
    places = list(range(CONTEXT_TOKENS, len(ids)))
    scores = token_scores(ids, places, KEY)
    assert scores.shape == (len(places), NUM_SUBKEYS)
    one = stats.kstest(scores[:, 0].numpy(), "expon")
    assert one.pvalue > 0.01
    sums = scores[: len(places) // 40 * 40].reshape(-1, 40, NUM_SUBKEYS).sum(1)
    forty = stats.kstest(sums[:, 5].numpy(), "gamma", args=(40,))
    assert forty.pvalue > 0.01
    # Subkeys are as good as different keys.
    together = torch.corrcoef(scores.T)
    assert (together - torch.eye(NUM_SUBKEYS)).abs().max() < 0.1


def test_the_p_value_of_text_without_the_key_is_never_too_small():
    rng = random.Random(2)
    texts = [[rng.randrange(N_VOCAB) for _ in range(rng.randrange(5, 300))] for _ in range(400)]
    found = sorted(find_mark(ids, KEY).p_value for ids in texts)
    # Corrected p-values stay above the diagonal; 400 texts go below it by chance a little.
    assert all(p >= 0.5 * (rank / 400) - 0.02 for rank, p in enumerate(found))


def slowly(ids: list[int]) -> float:
    """The p-value of a text whose contexts are all new, window by window and subkey by subkey."""
    places = list(range(CONTEXT_TOKENS, len(ids)))
    scores = token_scores(ids, places, KEY).numpy()
    num = len(places)
    windows = [
        (start, min(start + size, num))
        for size in (32 * 2**power for power in range(20))
        if size < num
        for start in range(0, num - size // 2, size // 2)
    ]
    whole = float(stats.gamma.sf(scores.sum(0), num).min())
    if not windows:
        return min(1.0, whole * NUM_SUBKEYS)
    parts = min(
        float(stats.gamma.sf(scores[start:end].sum(0), end - start).min()) for start, end in windows
    )
    return min(1.0, 2 * NUM_SUBKEYS * min(whole, parts * len(windows)))


@pytest.mark.parametrize("length", [5, 20, 36, 37, 51, 52, 53, 100, 133, 500])
def test_the_p_value_is_what_the_slow_way_finds(length: int, marked: list[list[int]]):
    rng = random.Random(length)
    ids = [rng.randrange(N_VOCAB) for _ in range(length)]
    ids[length // 3 : length // 3 + 40] = marked[0][: len(ids[length // 3 : length // 3 + 40])]
    assert find_mark(ids, KEY).p_value == pytest.approx(slowly(ids), rel=1e-6, abs=0.0)


def test_the_p_value_of_a_text_that_is_marked_throughout_is_that_of_the_whole(
    marked: list[list[int]],
):
    for ids in marked[:4]:
        found = find_mark(ids, KEY)
        assert (found.first, found.last) == (CONTEXT_TOKENS, LENGTH - 1)
        assert found.p_value == pytest.approx(slowly(ids), rel=1e-6, abs=0.0)


def test_readings_are_scored_together_as_they_are_alone(marked: list[list[int]]):
    texts = [marked[0], marked[0][10:], [], marked[1][:9], marked[1] + marked[2]]
    assert find_marks(texts, KEY) == [find_mark(ids, KEY) for ids in texts]


@pytest.mark.parametrize("length", [0, 1, CONTEXT_TOKENS])
def test_a_text_that_no_context_fits_into_shows_nothing(length: int):
    found = find_mark([EOT] * length, KEY)
    assert (found.num_scored, found.p_value) == (0, 1.0)


def test_a_rows_noise_starts_where_the_scorer_looks():
    context = (1, 2, 3)
    ids = [*context, 9]
    key = KEY.row_key(17, context)
    assert key == signed(key & (2**64 - 1))
    score = token_scores(ids, [len(context)], KEY)[0, 17].item()
    u = uniforms(torch.tensor([key]), torch.tensor([9])).item()
    assert score == pytest.approx(-torch.log1p(torch.tensor(-u, dtype=torch.float64)).item())
