"""A set that remembers only what was added lately: for telling repeats apart without growing."""

from collections.abc import Hashable

DEFAULT_SIZE = 4096


class Recent:
    """The last things added.

    >>> seen = Recent(2)
    >>> seen.add(1), seen.add(1), seen.add(2), seen.add(3), seen.add(1)
    (True, False, True, True, True)
    """

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        self._size = size
        self._things: dict[Hashable, None] = {}

    def add(self, thing: Hashable) -> bool:
        """Remember a thing; False when it is remembered already."""
        if thing in self._things:
            return False
        self._things[thing] = None
        if len(self._things) > self._size:
            del self._things[next(iter(self._things))]
        return True

    def __contains__(self, thing: Hashable) -> bool:
        return thing in self._things
