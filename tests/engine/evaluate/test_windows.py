"""Windows over a text: every token once, with context enough."""

import pytest

from engine.errors import InvalidRequestError
from engine.evaluate.windows import Window, windows

SIZES = [
    (num_scored, n_ctx, stride)
    for num_scored in range(26)
    for n_ctx in range(1, 9)
    for stride in range(1, n_ctx + 1)
]


def test_every_token_is_scored_exactly_once_and_in_order():
    for num_scored, n_ctx, stride in SIZES:
        cut = list(windows(num_scored, n_ctx, stride))
        scored = [position for window in cut for position in range(window.first, window.end)]
        assert scored == list(range(1, num_scored + 1)), (num_scored, n_ctx, stride)


def test_no_window_is_longer_than_the_context():
    for num_scored, n_ctx, stride in SIZES:
        for window in windows(num_scored, n_ctx, stride):
            assert 0 <= window.start < window.first < window.end
            assert window.end - 1 - window.start <= n_ctx


def test_every_token_sees_the_context_less_the_stride_or_all_there_is():
    for num_scored, n_ctx, stride in SIZES:
        for window in windows(num_scored, n_ctx, stride):
            for position in range(window.first, window.end):
                seen = position - window.start
                assert seen >= min(position, n_ctx - stride + 1), (num_scored, n_ctx, stride)


def test_a_text_shorter_than_the_context_is_one_window():
    assert list(windows(5, n_ctx=8, stride=2)) == [Window(0, 1, 6)]
    assert list(windows(8, n_ctx=8, stride=8)) == [Window(0, 1, 9)]


def test_with_the_context_as_stride_windows_do_not_overlap_but_for_the_last():
    assert list(windows(16, n_ctx=8, stride=8)) == [Window(0, 1, 9), Window(8, 9, 17)]
    # One token more: the last window reaches back over what was scored already.
    assert list(windows(17, n_ctx=8, stride=8))[-1] == Window(9, 17, 18)


def test_an_empty_text_has_no_window():
    assert list(windows(0, n_ctx=8, stride=4)) == []


@pytest.mark.parametrize("stride", [0, 9, -1])
def test_a_stride_out_of_bounds_is_refused_with_the_bound_and_the_value(stride: int):
    with pytest.raises(InvalidRequestError, match=f"between 1 and 8, the .* not {stride}$"):
        list(windows(5, n_ctx=8, stride=stride))
