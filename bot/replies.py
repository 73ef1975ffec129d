"""Every sentence the bot says to a person, the label's aside. Knows no Discord and no Redis.

All of it is inert: what came from outside (names, prompts, an engine's message) is escaped here.
"""

from pydantic import ValidationError

from bot.inert import inert_line, inert_start
from wire.jobs import ErrorCode, Failed, explain

STOP_BUTTON = "Stop"
STOPPED = "-# ⏹ Stopped."
STARTING = "-# ⏳ An engine is about to begin."
RETRYING = "-# ⏳ The engine was lost. The reply begins again."
WROTE_NOTHING = "-# The model wrote nothing: it ended the text at once."
TOO_LATE = "⚠️ Discord passed your `/generate` on too late to be answered. Please call it again."
STOPPING_HERE = (
    "⚠️ The bot is being stopped, and did not read the file to the end. Please ask again."
)
FORGOTTEN = "⚠️ This was interrupted by a restart and is lost. Please ask again."
REDIS_AWAY = "⚠️ The queue cannot be reached right now. Please ask again in a minute."
NOT_YOURS = "Only the person who asked, or someone who manages messages here, may stop this reply."
REDIS_FULL = "⚠️ The queue has no memory left for new requests. Please ask again in a few minutes."
FAILED_HERE = "⚠️ Something went wrong on the bot's side. Please ask again."
LOOKING = "-# ⏳ An engine is looking at it."
LOOKING_AGAIN = "-# ⏳ The engine was lost. The next one will look at it."
NO_ENGINE_TO_VERIFY = "⚠️ No engine is running that could look at it. Please ask again later."
NOTHING_TO_VERIFY = (
    "⚠️ There is nothing to look at. Give me a text (`text:`) or a text file (`file:`)."
)
ONE_OF_TWO = "⚠️ That is a text and a file. Please give me one of the two at a time."
MESSAGE_WITHOUT_TEXT = (
    "⚠️ I can look at a message's own text or at a text file attached to it. "
    "This one has neither: pictures and embeds I can't read."
)
NOT_A_TEXT_FILE = "⚠️ I can look at text files in UTF-8 only, and this one is something else."
FILE_AWAY = "⚠️ The file could not be had from Discord. Please try again, or paste its text."
OPTION_NAMES = {"max_tokens": "length"}
"""What a setting is called where people choose it, if not as in `SamplingParams`."""

MAX_SENTENCE_UNITS = 500
MAX_MODELS_NAMED = 20
MAX_NAME_UNITS = 40
MAX_QUOTE_UNITS = 400
MAX_QUOTE_LINES = 6


def error_sentence(failed: Failed) -> str:
    """Say why there is no whole reply.

    An engine's own message is shown where it carries numbers that only the engine knows.
    """
    return f"⚠️ {_reason(failed)}"


def _reason(failed: Failed) -> str:
    match failed.code:
        case ErrorCode.INVALID_REQUEST | ErrorCode.PROMPT_TOO_LONG:
            return inert_line(failed.message, MAX_SENTENCE_UNITS)
        case ErrorCode.OVERLOADED:
            return (
                "The engine has no room for this right now: too much to do, or too little memory. "
                "Please ask again in a few minutes."
            )
        case ErrorCode.DEADLINE:
            return "This took too long: the reply was not done in time. Please ask again."
        case ErrorCode.ENGINE_LOST:
            return "The engine was lost again and again while it wrote this, so I gave up."
        case ErrorCode.INTERNAL:
            return "Something went wrong in the engine. Please ask again."
        case ErrorCode.NO_ENGINE:
            return "No engine was running to write this. Please ask again later."


def verify_error_sentence(failed: Failed) -> str:
    """Say why there is no answer to whether the bot wrote a text."""
    match failed.code:
        case ErrorCode.DEADLINE:
            return "⚠️ No engine came to look at it in time. Please ask again in a few minutes."
        case ErrorCode.NO_ENGINE:
            return NO_ENGINE_TO_VERIFY
        case ErrorCode.ENGINE_LOST:
            return "⚠️ The engine was lost again and again while it looked at it, so I gave up."
        case _:
            return error_sentence(failed)


def looked_at(*, link: str = "", file: str = "", num_kib: int | None = None) -> str:
    """Say in small print what a verification looked at.

    Args:
        link: To the message.
        file: The name of the file, as its owner gave it.
        num_kib: How much of the file, where not all of it.

    >>> looked_at(file="story", num_kib=48)
    '-# Looked at: story, only the first 48 KiB of it.'
    """
    name = inert_line(file, MAX_NAME_UNITS)
    what = f"{name} in {link}" if name and link else name or link
    part = f", only the first {num_kib} KiB of it" if num_kib is not None else ""
    return f"-# Looked at: {what}{part}." if part or name else f"-# Looked at: {what}"


def line_is_full(num_waiting: int) -> str:
    """Refuse: too many requests wait already."""
    return (
        f"⚠️ The line is full: {count(num_waiting, 'request')} already waiting. "
        "Please ask again in a few minutes."
    )


def you_have_enough(max_unfinished: int) -> str:
    """Refuse: this person's own requests are not done yet.

    >>> you_have_enough(1)
    '⚠️ Your last request is not done yet. Please wait for it, or stop it.'
    """
    if max_unfinished == 1:
        return "⚠️ Your last request is not done yet. Please wait for it, or stop it."
    return (
        f"⚠️ Your last {max_unfinished} requests are not done yet. "
        "Please wait for one of them, or stop one."
    )


def no_such_model(models: tuple[str, ...]) -> str:
    """Refuse: no engine has the model that was asked for.

    >>> no_such_model(("124M", "notes"))
    '⚠️ No engine has that model. There are: 124M, notes.'
    """
    if not models:
        return "⚠️ No engine has that model."
    known = ", ".join(models[:MAX_MODELS_NAMED]) + (", …" if len(models) > MAX_MODELS_NAMED else "")
    return f"⚠️ No engine has that model. There are: {inert_line(known, MAX_SENTENCE_UNITS)}."


def bad_option(error: ValidationError) -> str:
    """Refuse: an option, or the whole request, is out of bounds."""
    said = explain(error)
    for name, shown in OPTION_NAMES.items():
        said = said.replace(f"{name}:", f"{shown}:", 1) if said.startswith(f"{name}:") else said
    return f"⚠️ {inert_line(said, MAX_SENTENCE_UNITS)}"


def waiting(place: int | None, num_engines: int, deadline_unix_ms: int) -> str:
    """Say how a waiting request stands.

    >>> waiting(3, num_engines=1, deadline_unix_ms=60_000)
    '-# ⏳ You are 3rd in line.'
    """
    if num_engines == 0:
        return (
            "⏳ No engine is running right now. "
            f"Your request stays in line until <t:{deadline_unix_ms // 1000}:t>."
        )
    if place is None:
        return STARTING
    return (
        "-# ⏳ You are next in line." if place == 1 else f"-# ⏳ You are {_ordinal(place)} in line."
    )


def cannot_write(channel_id: int) -> str:
    """Tell in private why there is no reply where it was asked for."""
    return (
        f"⚠️ I could not answer you in <#{channel_id}>: I may not write there. Someone who manages "
        "the server can give me the permissions View Channel, Send Messages and "
        "Read Message History."
    )


def asked_by(name: str, prompt: str) -> str:
    """Quote a person's prompt, so that their words are not taken for the model's.

    >>> print(asked_by("Ada", "Once upon"))
    -# Ada asked for a text that begins with:
    > Once upon
    """
    who = inert_line(name, MAX_NAME_UNITS) or "Someone"
    if not prompt:
        return f"-# {who} asked for a text."
    lines = prompt.split("\n")
    if len(lines) > MAX_QUOTE_LINES:
        lines = [*lines[: MAX_QUOTE_LINES - 1], "…"]
    quote = inert_start("\n".join(lines), MAX_QUOTE_UNITS).replace("\n", "\n> ")
    return f"-# {who} asked for a text that begins with:\n> {quote}"


def count(number: int, noun: str) -> str:
    """Say a number with its noun and verb.

    >>> count(1, "request"), count(2, "request")
    ('1 request is', '2 requests are')
    """
    return f"{number} {noun} is" if number == 1 else f"{number} {noun}s are"


def _ordinal(number: int) -> str:
    last_two = number % 100
    ending = "th" if 10 <= last_two <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
