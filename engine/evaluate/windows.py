"""Owns how a text longer than the context is cut into windows. Knows no model and no tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch `start … end - 1` of a stream, of which `first … end - 1` is scored.

    The model sees `start … end - 2`, at most its context.
    """

    start: int
    first: int
    end: int


def windows(num_scored: int, n_ctx: int, stride: int) -> Iterator[Window]:
    """Cut a stream, one token to begin with and `num_scored` behind it, into windows.

    The first window scores `n_ctx` tokens, each one after it the next `stride`, and the last
    what is left. Every token but the first of the stream is scored exactly once, and given at
    least the `n_ctx - stride + 1` tokens before it, or all there are. The smaller the stride, the
    more context and the more work: `n_ctx / stride` passes over the text.

    Four tokens of context, three behind the first scored one in every later window:

    >>> for window in windows(9, n_ctx=4, stride=2):
    ...     print("." * window.start + "s" * (window.first - window.start)
    ...           + "X" * (window.end - window.first))
    sXXXX
    ..sssXX
    ....sssXX
    .....ssssX

    Raises:
        InvalidRequestError: the stride is out of bounds.
    """
    if not 1 <= stride <= n_ctx:
        msg = f"stride must be between 1 and {n_ctx}, the model's context, not {stride}"
        raise InvalidRequestError(msg)
    end = 1
    while end <= num_scored:
        first = end
        end = min(first + (n_ctx if first == 1 else stride), num_scored + 1)
        # The last window reaches back as far as the others, so its tokens see as much.
        yield Window(max(0, end - 1 - n_ctx), first, end)
