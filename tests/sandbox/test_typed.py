"""What a typed line means."""

import pytest

from sandbox.model import Json
from sandbox.slash import PersonError
from sandbox.typed import (
    Direct,
    Help,
    LocalFile,
    Mention,
    Menu,
    Nothing,
    Quit,
    Slash,
    Stop,
    completions,
    read,
)

GENERATE: Json = {
    "type": 1,
    "name": "generate",
    "description": "Write",
    "options": [
        {"type": 3, "name": "prompt", "description": "How it begins"},
        {"type": 4, "name": "length", "description": "Tokens", "min_value": 1, "max_value": 50},
        {"type": 10, "name": "temperature", "description": "Heat"},
        {"type": 5, "name": "quiet", "description": "For you only"},
        {"type": 11, "name": "file", "description": "A file"},
    ],
}
SETTINGS: Json = {
    "type": 1,
    "name": "settings",
    "description": "Set",
    "options": [
        {
            "type": 1,
            "name": "mode",
            "description": "The mode",
            "options": [{"type": 3, "name": "to", "description": "Which"}],
        }
    ],
}
COMMANDS = [GENERATE, SETTINGS, {"type": 3, "name": "Continue", "description": ""}]


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("", Nothing()),
        ("  ", Nothing()),
        ("@", Mention("")),
        ("Once upon", Mention("Once upon")),
        ("@ noon", Mention("@ noon")),
        ("/", Help()),
        ("/help", Help()),
        ("/dm", Help()),
        ("/dm psst /stop", Direct("psst /stop")),
        ("/stop", Stop()),
        ("/quit", Quit()),
        ("/generate", Slash("generate", {})),
        ("/generate Once upon", Slash("generate", {"prompt": "Once upon"})),
        (
            "/generate Once length:50 upon temperature:0.9",
            Slash("generate", {"prompt": "Once upon", "length": 50, "temperature": 0.9}),
        ),
        ("/generate length:many", Slash("generate", {"length": "many"})),
        ("/generate quiet:True", Slash("generate", {"quiet": True})),
        ('/generate prompt:"it\'s length:5"', Slash("generate", {"prompt": "it's length:5"})),
        ("/generate prompt: Once upon", Slash("generate", {"prompt": "Once upon"})),
        ("/generate file:a.txt", Slash("generate", {"file": LocalFile("a.txt")})),
        ('/generate file:"my file.txt"', Slash("generate", {"file": LocalFile("my file.txt")})),
        ("/above", Menu("Continue")),
        ("/above cont", Menu("Continue")),
        ("/generate at 10:30 heat:5", Slash("generate", {"prompt": "at 10:30 heat:5"})),
        ("/settings mode chat", Slash("settings mode", {"to": "chat"})),
    ],
)
def test_a_line_is_read(line: str, typed: object):
    assert read(line, COMMANDS) == typed


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/nothing", "no command 'nothing' here; there are: generate, settings"),
        ("/settings", "/settings needs one of its sub-commands: mode"),
        ("/above no", "'no' names no single one; there are: Continue"),
    ],
)
def test_a_line_that_means_nothing_is_refused_with_what_there_is(line: str, sentence: str):
    with pytest.raises(PersonError, match=sentence):
        read(line, COMMANDS)


def test_commands_and_options_are_completed_with_their_bounds():
    assert [text for text, _ in completions("/s", COMMANDS)] == ["/settings", "/stop"]
    assert completions("/generate Once l", COMMANDS) == [("length:", "Tokens (1 to 50)")]
    after_one = [text for text, _ in completions("/generate length:5 ", COMMANDS)]
    assert after_one == ["file:", "prompt:", "quiet:", "temperature:"]
    assert [text for text, _ in completions("/settings ", COMMANDS)] == ["mode"]
    assert completions("Once", COMMANDS) == []
    assert completions("/nothing ", COMMANDS) == []
