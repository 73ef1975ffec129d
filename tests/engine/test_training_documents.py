"""Files to documents: plain text, JSON lines, chat exports, and the sentence for all else."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InvalidRequestError
from engine.train.documents import Document, read_documents


def texts_in(path: Path) -> list[str]:
    return [document.text for document in read_documents(path).documents]


def said(
    minute: float, who: str, content: str, *, kind: str = "Default", **author: Any
) -> dict[str, Any]:
    """A message as DiscordChatExporter writes it, with what is beside the point here."""
    return {
        "id": f"9{minute:.0f}",
        "type": kind,
        "timestamp": f"2026-05-01T{10 + int(minute) // 60:02}:{int(minute) % 60:02}:13.664+00:00",
        "timestampEdited": None,
        "callEndedTimestamp": None,
        "isPinned": False,
        "content": content,
        "author": {
            "id": "1",
            "name": who,
            "discriminator": "0000",
            "nickname": who.title(),
            "color": None,
            "isBot": False,
            "roles": [],
            "avatarUrl": "https://cdn.discordapp.com/embed/avatars/0.png",
            **author,
        },
        "attachments": [],
        "embeds": [],
        "stickers": [],
        "reactions": [],
        "mentions": [],
        "reference": {"messageId": "91", "channelId": "2", "guildId": "3"},
        "inlineEmojis": [],
    }


def export_of(*messages: dict[str, Any]) -> str:
    head = {
        "guild": {"id": "3", "name": "Bottles", "iconUrl": "https://x"},
        "channel": {"id": "2", "type": "GuildTextChat", "name": "wall", "topic": None},
        "dateRange": {"after": None, "before": None},
        "exportedAt": "2026-05-02T00:00:00+00:00",
    }
    return json.dumps({**head, "messages": list(messages), "messageCount": len(messages)}, indent=2)


def test_plain_text_is_split_at_end_of_text(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("\none\nmore\n<|endoftext|>\ntwo<|endoftext|>\n \n", encoding="utf-8")
    assert texts_in(path) == ["one\nmore", "two"]


def test_a_byte_order_mark_is_no_text(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one", encoding="utf-8-sig")
    assert texts_in(tmp_path) == ["one"]


def test_json_lines_give_a_document_each(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": text, "other": 1}) for text in ("one", "two\nlines", " ", "drei")]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    assert texts_in(path) == ["one", "two\nlines", "drei"]


def test_a_prompt_and_its_completion_stay_as_they_are_written(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    lines = [{"prompt": "Why?\n\n", "completion": "\n Because.\n"}, {"text": "two"}]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    expected = [Document("\n Because.\n", "Why?\n\n"), Document("two")]
    assert read_documents(path).documents == expected


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\x0b"], ids=ascii)
def test_json_lines_may_hold_characters_that_end_lines_elsewhere(tmp_path: Path, char: str):
    path = tmp_path / "a.jsonl"
    documents = [f"one{char}more", "two"]
    # JSON itself ends a line at a line feed only; a vertical tab has to be escaped in it.
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in documents]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert texts_in(path) == documents


def test_a_folder_is_read_whole_and_in_order_and_nothing_else_of_it(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "e.txt").write_text("five", encoding="utf-8")
    (tmp_path / "deep" / "b.MD").write_text("two", encoding="utf-8")
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"text": "three"}\n', encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\xff\x00")
    (tmp_path / "package.json").write_text('{"name": "x"}', encoding="utf-8")
    reading = read_documents(tmp_path)
    assert [document.text for document in reading.documents] == ["one", "three", "two"]
    assert reading.left_out == [tmp_path / "package.json"]


@pytest.mark.parametrize("name", ["data", "data.json", "data.log"])
def test_json_lines_are_known_by_what_they_hold(tmp_path: Path, name: str):
    (tmp_path / name).write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    assert texts_in(tmp_path / name) == ["one", "two"]


@pytest.mark.parametrize("name", ["a.json", "a.txt", "export", "a.jsonl"])
def test_a_chat_export_is_known_by_what_it_holds(tmp_path: Path, name: str):
    (tmp_path / name).write_text(export_of(said(0, "ada", "Hi"), said(1, "bob", "Ho")))
    reading = read_documents(tmp_path / name)
    assert [document.text for document in reading.documents] == ["Ada: Hi\nBob: Ho"]
    assert (reading.num_exports, reading.people) == (1, {"Ada", "Bob"})


def test_plain_text_that_begins_like_json_is_plain_text(tmp_path: Path):
    (tmp_path / "a.txt").write_text('{"text": "one"}', encoding="utf-8")
    assert texts_in(tmp_path) == ['{"text": "one"}']


def test_a_chat_export_becomes_transcripts_of_people_cut_at_long_pauses(tmp_path: Path):
    (tmp_path / "a.json").write_text(
        export_of(
            said(0, "ada", "Hello there"),
            said(1, "rob", "beep", isBot=True),
            said(2, "bob", "joined the server.", kind="GuildMemberJoin"),
            said(3, "bob", "used /roll", kind="20"),
            said(4, "bob", " two\nlines \n", kind="Reply"),
            said(5, "ada", "  "),  # only a picture
            said(6, "eve", "no nickname", nickname=None),
            said(36, "ada", "half an hour later"),
            said(67, "a\nda", "after a long pause", nickname="A\n da"),
            said(68, "bob", "same talk"),
        ),
        encoding="utf-8",
    )
    assert texts_in(tmp_path) == [
        "Ada: Hello there\nBob: two\nlines\neve: no nickname\nAda: half an hour later",
        "A da: after a long pause\nBob: same talk",
    ]


def test_an_export_that_runs_backwards_is_put_in_order(tmp_path: Path):
    (tmp_path / "a.json").write_text(export_of(said(9, "bob", "second"), said(8, "ada", "first")))
    assert texts_in(tmp_path) == ["Ada: first\nBob: second"]


def test_half_an_emoji_in_an_export_costs_that_emoji_alone(tmp_path: Path):
    (tmp_path / "a.json").write_text(export_of(said(0, "ada", "Hi \ud83d")))
    assert texts_in(tmp_path) == ["Ada: Hi ?"]


BAD = {
    "no-text": ("bad.txt", b"one\ntwo\n\xff\xfe", "line 3: no UTF-8 text"),
    "cut-off": ("bad.jsonl", b'{"text": "one"}\n\n{"text": ', "line 3: damaged JSON: Expecting"),
    "other-key": ("bad.jsonl", b'{"txt": "one"}', 'line 1: it must be {"text": "…"} or {"prompt"'),
    "list": ("bad.jsonl", b'{"text": "one"}\n["one"]', "line 2: it must be"),
    "number": ("bad.jsonl", b'{"text": 1}', "line 1: it must be"),
    "string": ("bad.jsonl", b'"text"', "line 1: it must be"),
    "half-a-pair": ("bad.jsonl", b'{"prompt": "one"}', "line 1: it must be"),
    "no-answer": (
        "bad.jsonl",
        b'{"prompt": "one", "completion": " "}',
        "line 1: the completion is empty",
    ),
    "surrogate": ("bad.jsonl", rb'{"text": "\ud83d"}', "line 1: half of a surrogate pair"),
    "deep": ("bad.jsonl", b"[" * 200_000, "line 1: JSON nested too deeply"),
    "deep-json": ("bad.json", b'{"a":' * 200_000, "line 1: JSON nested too deeply"),
    "cut-off-export": ("bad.json", b'{"guild": {},\n"messages": [', "line 2: damaged JSON"),
    "no-author": (
        "bad.json",
        b'{"guild": {}, "channel": {}, "messages": [{"type": "Default", "content": "secret",'
        b' "timestamp": "2026-05-01T10:00:00Z"}]}',
        "messages.0.author: field required",
    ),
}


@pytest.mark.parametrize(("name", "content", "reason"), BAD.values(), ids=BAD.keys())
def test_a_file_that_cannot_be_read_is_named_with_the_line(
    tmp_path: Path, name: str, content: bytes, reason: str
):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.txt").write_text("good", encoding="utf-8")
    with pytest.raises(InvalidRequestError) as caught:
        read_documents(tmp_path)
    said = str(caught.value)
    assert said.startswith(f"cannot read training text from {tmp_path / name}: {reason}")
    assert "secret" not in said
    assert "\n" not in said


def test_a_path_to_nothing_is_named(tmp_path: Path):
    with pytest.raises(InvalidRequestError, match=r"cannot read training text from .*gone\.txt"):
        read_documents(tmp_path / "gone.txt")


def test_a_json_file_of_another_kind_is_refused_where_it_is_all_there_is(tmp_path: Path):
    (tmp_path / "package.json").write_text('{"name": "x"}', encoding="utf-8")
    with pytest.raises(InvalidRequestError, match="neither a chat export nor JSON lines"):
        read_documents(tmp_path / "package.json")
    with pytest.raises(InvalidRequestError, match="holds no text to train on"):
        read_documents(tmp_path)


@pytest.mark.parametrize("content", ["", "\n \n<|endoftext|>"], ids=ascii)
def test_nothing_to_train_on_is_told(tmp_path: Path, content: str):
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidRequestError, match=r"a\.txt holds no text to train on"):
        read_documents(tmp_path / "a.txt")
