"""Lets child processes die with their parent, however it dies; knows no program."""

import ctypes
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal a process gets when its parent dies."""


def die_with_parent() -> Callable[[], None] | None:
    """Make a `preexec_fn` that asks Linux for SIGKILL when the parent is gone.

    Elsewhere it is None, and an orphan stays until it is ended by hand. To Linux the parent is
    the thread that started the child, so children are started from the main one.
    """
    if sys.platform != "linux":
        return None
    # The library is loaded before the fork: between fork and exec little is safe to do.
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
