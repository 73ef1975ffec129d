"""Uploaded files: kept under our names, checked, bounded, and gone when they are deleted."""

from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from engine.http_api.files import FileStore
from tests.engine.http_api.serving import Served, serving

LINES = b'{"text": "one"}\n\n{"prompt": "two", "completion": " three"}\n'


def form(*parts: tuple[str, bytes, str | None]) -> aiohttp.FormData:
    """A form of parts: field, content, and the file's name if it has one."""
    data = aiohttp.FormData(default_to_multipart=True)
    for field, content, filename in parts:
        if filename is None:
            data.add_field(field, content.decode())
        else:
            data.add_field(field, BytesIO(content), filename=filename)
    return data


async def upload(served: Served, data: Any) -> tuple[int, Any]:
    async with served.session.post(f"{served.url}/v1/files", data=data) as response:
        return response.status, await response.json()


async def upload_as(served: Served, filename: str, content: bytes) -> tuple[int, Any]:
    parts = (("purpose", b"fine-tune", None), ("file", content, filename))
    return await upload(served, form(*parts))


def kept(models: Path) -> list[Path]:
    return [path for path in (models / ".files").rglob("*") if path.is_file()]


async def test_a_file_is_uploaded_listed_fetched_and_deleted(served: Served, models: Path):
    files = served.openai.files
    made = await files.create(file=("notes.jsonl", LINES), purpose="fine-tune")
    assert (made.filename, made.bytes, made.purpose) == ("notes.jsonl", len(LINES), "fine-tune")
    assert (made.object, made.status) == ("file", "processed")
    assert await files.retrieve(made.id) == made
    assert [each async for each in files.list()] == [made]
    content = await files.content(made.id)
    assert content.content == LINES
    assert content.response.headers["Content-Disposition"] == "attachment"
    assert (await files.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await files.retrieve(made.id)
    assert [each async for each in files.list()] == []
    assert kept(models) == []


async def test_files_outlive_the_server(models: Path):
    async with serving(models) as served:
        made = await served.openai.files.create(file=("a.txt", b"text"), purpose="fine-tune")
    async with serving(models) as served:
        assert await served.openai.files.retrieve(made.id) == made


async def test_lists_are_paged_newest_first(served: Served):
    made = [
        (await served.openai.files.create(file=(f"{n}.txt", b"text"), purpose="fine-tune")).id
        for n in range(5)
    ]
    pages = await served.openai.files.list(limit=2)
    assert len(pages.data) == 2
    assert pages.has_more
    every = [each.id async for each in pages]
    assert sorted(every) == sorted(made)
    upwards = [each.id async for each in served.openai.files.list(order="asc", limit=3)]
    assert upwards == every[::-1]
    for query in ({"limit": "0"}, {"limit": "x"}, {"after": "file-0"}):
        async with served.session.get(f"{served.url}/v1/files", params=query) as response:
            assert response.status == 400
            assert (await response.json())["error"]["param"] in query


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../../etc/passwd.txt", "passwd.txt"),
        ("C:\\notes\\a.jsonl", "a.jsonl"),
        ("a\tb\x7f.txt", "ab.txt"),
        ("x" * 500 + ".TXT", "x" * 196 + ".TXT"),
    ],
    ids=lambda name: name[:12],
)
def test_a_name_is_shown_and_never_a_path(tmp_path: Path, given: str, shown: str):
    store = FileStore(tmp_path / "files")
    store.open()
    content = store.begin(given)
    content.write_bytes(LINES)
    record = store.keep(content, given)
    assert record.filename == shown
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
    [folder] = (tmp_path / "files").iterdir()
    assert folder.name == record.id
    assert {path.name for path in folder.iterdir()} < {
        "record.json",
        "content.txt",
        "content.jsonl",
    }


async def test_an_upload_cannot_leave_its_folder(served: Served, models: Path):
    name = b"../../../../tmp/escaped.txt"
    body = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
        b"text\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    url = f"{served.url}/v1/files"
    async with served.session.post(url, data=body, headers=headers) as response:
        assert response.status == 200
        made = await response.json()
    assert made["filename"] == "escaped.txt"
    assert {path.parent.name for path in kept(models)} == {made["id"]}


@pytest.mark.parametrize(
    ("filename", "content", "said"),
    [
        ("a.exe", b"text", "file must be one of .jsonl, .txt, .md, not 'a.exe'."),
        ("", b"text", "file must be one of"),
        ("a.txt", b" \n ", "The file holds no text."),
        ("a.jsonl", b"\n", "The file holds no text."),
        ("a.txt", b"caf\xe9", "The file is not UTF-8 text."),
        ("a.jsonl", LINES + b"{", 'Line 4 of the file must be {"text": …}'),
        ("a.jsonl", b'{"messages": []}', 'Line 1 of the file must be {"text": …}'),
        ("a.jsonl", b'{"text": 3}', 'Line 1 of the file must be {"text": …}'),
        ("a.jsonl", b"[" * 100_000, 'Line 1 of the file must be {"text": …}'),
    ],
)
async def test_a_file_that_cannot_be_trained_on_is_refused_and_not_kept(
    served: Served, models: Path, filename: str, content: bytes, said: str
):
    status, answer = await upload_as(served, filename, content)
    assert status == 400
    assert answer["error"]["message"].startswith(said)
    assert kept(models) == []


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([("file", b"text", "a.txt")], "purpose must be 'fine-tune', not None."),
        ([("purpose", b"assistants", None), ("file", b"text", "a.txt")], "purpose must be"),
        ([("purpose", b"fine-tune", None)], "file is missing"),
        ([("purpose", b"fine-tune", None), ("other", b"x", None)], "The form must have the parts"),
        ([("file", b"text", "a.txt"), ("file", b"text", "b.txt")], "The form must have the parts"),
    ],
)
async def test_a_form_that_is_not_right_is_refused_and_nothing_is_kept(
    served: Served, models: Path, parts: Any, said: str
):
    status, answer = await upload(served, form(*parts))
    assert status == 400
    assert answer["error"]["message"].startswith(said)
    assert kept(models) == []


async def test_413_for_a_file_above_the_bound_which_is_not_kept(models: Path):
    async with serving(models, max_upload_bytes=2**20) as served:
        assert (await upload_as(served, "a.txt", b"x" * 2**20))[0] == 200
        status, answer = await upload_as(served, "b.txt", b"x" * (2**20 + 1))
        assert status == 413
        assert answer["error"]["message"] == "The file is too large: at most 1 MiB are taken."
    assert len(kept(models)) == 2


async def test_a_form_may_come_in_any_pieces(served: Served):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        b"text\r\n--b--\r\n"
    )
    cut = body.index(b"-tune")

    async def pieces():
        yield body[:cut]
        # The server has read the first before it gets the second.
        await served.session.get(f"{served.url}/healthz")
        yield body[cut:]

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    url = f"{served.url}/v1/files"
    async with served.session.post(url, data=pieces(), headers=headers) as response:
        assert response.status == 200, await response.text()


@pytest.mark.parametrize(
    "part",
    [b"Bad Header", b": x", b"X: " + b"y" * 20_000, b"X: y\r\n" * 2000, b"Content-Type: \xff"],
    ids=lambda part: part[:10],
)
async def test_a_form_that_is_damaged_is_refused_and_nothing_is_kept(
    served: Served, models: Path, part: bytes
):
    body = b"--b\r\n" + part + b"\r\n\r\nx\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    url = f"{served.url}/v1/files"
    async with served.session.post(url, data=body, headers=headers) as response:
        assert response.status == 400
    assert kept(models) == []


async def test_an_upload_that_breaks_off_is_cleared_away(served: Served, models: Path):
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with served.session.post(
        f"{served.url}/v1/files", data=body, headers=headers
    ) as response:
        assert response.status == 400
    assert kept(models) == []


def test_what_an_earlier_server_left_half_uploaded_is_cleared_away(tmp_path: Path):
    store = FileStore(tmp_path)
    store.begin("a.txt").write_bytes(b"half")
    store.open()
    assert list(tmp_path.iterdir()) == []
