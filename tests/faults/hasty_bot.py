"""`python -m tests.faults.hasty_bot run`: the real bot, whose requests have short deadlines.

Nothing else is changed. Minutes are what people are given, and no test can wait for them.
"""

from bot import intake
from bot.__main__ import main

MESSAGE_DEADLINE_S = 6
"""Shorter than a lease: it passes while a dead engine still seems to hold the job."""
INTERACTION_DEADLINE_S = 14
"""Longer than a lease: it passes while the job waits for another engine."""

if __name__ == "__main__":
    intake.MESSAGE_DEADLINE_S = MESSAGE_DEADLINE_S
    intake.INTERACTION_DEADLINE_S = INTERACTION_DEADLINE_S
    main()
