"""Owns the tree of errors that an engine raises on purpose; each has its place on the wire.

EngineError
├── InvalidRequestError      the request cannot be run as it stands
│   ├── PromptTooLongError   prompt and reply together exceed the context
│   └── UnknownModelError    no model of that name is here
├── NoKeyError               without a watermark key nothing can be verified
├── OverloadedError          no room to wait
├── EngineStoppedError       the step loop has ended
├── MemoryShortError         a model and its slots do not fit into free memory
└── ModelError               a model folder is missing, damaged, or not a GPT-2
"""

from typing import ClassVar

from wire.jobs import ErrorCode


class EngineError(Exception):
    """The base; its text is one sentence that may be shown to a person."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL


class InvalidRequestError(EngineError):
    """The request cannot be run as it stands."""

    code = ErrorCode.INVALID_REQUEST


class PromptTooLongError(InvalidRequestError):
    """Prompt and reply together exceed the context."""

    code = ErrorCode.PROMPT_TOO_LONG


class UnknownModelError(InvalidRequestError):
    """No model of that name is here."""


class NoKeyError(EngineError):
    """Without a watermark key nothing can be verified."""

    # The one code whose sentence is shown to people as it stands.
    code = ErrorCode.INVALID_REQUEST


class OverloadedError(EngineError):
    """No room to wait."""

    code = ErrorCode.OVERLOADED


class EngineStoppedError(EngineError):
    """The step loop has ended; nothing more will be answered."""


class MemoryShortError(EngineError):
    """A model and its slots do not fit into free memory."""

    code = ErrorCode.OVERLOADED


class ModelError(EngineError):
    """A model folder is missing, damaged, or not a GPT-2."""
