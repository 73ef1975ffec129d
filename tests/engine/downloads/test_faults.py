"""Answers that break off, lie or change: the right bytes arrive all the same, or none."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from engine.download import SPARE_BYTES
from engine.fetch import CHUNK_BYTES, DownloadError
from tests.engine.downloads.file_server import FileServer, Twist
from tests.engine.downloads.small_release import (
    ALL_BYTES,
    FILES,
    HASTE,
    PREFIX,
    WEIGHTS,
    WEIGHTS_PATH,
    Get,
    Watcher,
)


def resumed_at(server: FileServer) -> list[int]:
    """Return where the requests for the weights, but for the first, went on."""
    ranges = [request.range for request in server.seen(WEIGHTS_PATH)[1:]]
    return [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in ranges if asked]


def test_after_a_cut_connection_only_the_rest_is_asked_for(
    get: Get, server: FileServer, watcher: Watcher
):
    server.plan(WEIGHTS_PATH, Twist(end_after=200_000))
    assert get() == FILES
    assert resumed_at(server) == [196_608]
    assert server.seen(WEIGHTS_PATH)[1].if_range == server.etag(WEIGHTS_PATH)
    assert watcher.num_bytes == ALL_BYTES


def test_after_a_reset_connection_the_download_goes_on(
    get: Get, server: FileServer, watcher: Watcher
):
    # A reset also takes what this machine has received and not read: where it goes on is open.
    server.plan(WEIGHTS_PATH, Twist(end_after=200_000, reset=True))
    assert get() == FILES
    assert len(server.seen(WEIGHTS_PATH)) == 2
    assert watcher.num_bytes == ALL_BYTES


def test_a_connection_that_breaks_again_and_again_is_followed_to_the_end(
    get: Get, server: FileServer
):
    server.plan(WEIGHTS_PATH, *[Twist(end_after=CHUNK_BYTES + 1)] * 4)
    assert get(replace(HASTE, attempts=2, progress_bytes=CHUNK_BYTES)) == FILES
    assert resumed_at(server) == [CHUNK_BYTES * number for number in range(1, 5)]


def test_a_rest_that_comes_in_pieces_is_put_together(get: Get, server: FileServer):
    size = len(FILES[WEIGHTS])
    piece = {"Content-Range": f"bytes {CHUNK_BYTES}-99999/{size}", "Content-Length": "20000"}
    server.plan(WEIGHTS_PATH, Twist(end_after=CHUNK_BYTES), Twist(headers=piece, end_after=20_000))
    assert get() == FILES
    assert resumed_at(server) == [CHUNK_BYTES, CHUNK_BYTES + 20_000]


def test_a_corrupted_file_is_thrown_away_and_fetched_once_more(
    get: Get, server: FileServer, watcher: Watcher
):
    server.plan(WEIGHTS_PATH, Twist(corrupt=True))
    assert get() == FILES
    assert [request.range for request in server.seen(WEIGHTS_PATH)] == [None, None]
    assert any("thrown away" in line for line in watcher.lines)
    assert watcher.num_bytes == ALL_BYTES


def test_a_file_that_is_wrong_twice_is_refused_with_both_hashes(
    get: Get, server: FileServer, tmp_path: Path
):
    other = b"#version: 0.3\n"
    server.files[PREFIX + "merges.txt"] = other
    with pytest.raises(DownloadError) as caught:
        get()
    assert hashlib.sha256(other).hexdigest() in str(caught.value)
    assert hashlib.sha256(FILES["merges.txt"]).hexdigest() in str(caught.value)
    assert len(server.seen(PREFIX + "merges.txt")) == 2
    assert not (tmp_path / "124M").exists()
    assert not list((tmp_path / "124M.partial").glob("merges*"))


def test_a_relative_redirect_is_followed(get: Get, server: FileServer):
    server.files["/cache/vocab"] = FILES["vocab.json"]
    server.plan(PREFIX + "vocab.json", Twist(status=302, headers={"Location": "/cache/vocab"}))
    assert get() == FILES
    assert len(server.seen("/cache/vocab")) == 1


def test_a_redirect_to_another_host_gives_the_rest_from_there(get: Get, server: FileServer):
    with FileServer({"/blob?signature=x": FILES[WEIGHTS]}) as other:
        there = f"http://localhost:{other.port}/blob?signature=x"
        server.plan(WEIGHTS_PATH, *[Twist(status=302, headers={"Location": there})] * 2)
        other.plan("/blob?signature=x", Twist(end_after=200_000))
        assert get() == FILES
        assert [request.range for request in other.log] == [None, "bytes=196608-"]


def test_a_server_that_ignores_the_range_is_read_from_the_start(
    get: Get, server: FileServer, watcher: Watcher
):
    server.plan(WEIGHTS_PATH, Twist(end_after=200_000), Twist(ignore_range=True))
    assert get() == FILES
    assert len(server.seen(WEIGHTS_PATH)) == 2
    assert watcher.num_bytes == ALL_BYTES


def test_another_part_than_the_one_asked_for_is_not_used(get: Get, server: FileServer):
    size = len(FILES[WEIGHTS])
    lie = Twist(headers={"Content-Range": f"bytes 5-{size - 1}/{size}"})
    server.plan(WEIGHTS_PATH, Twist(end_after=200_000), lie)
    assert get() == FILES
    assert [request.range for request in server.seen(WEIGHTS_PATH)] == [
        None,
        "bytes=196608-",
        None,
    ]


def test_a_file_that_was_all_there_costs_one_request_and_no_bytes(
    get: Get, server: FileServer, tmp_path: Path
):
    (tmp_path / "124M.partial").mkdir()
    (tmp_path / f"124M.partial/{WEIGHTS}.part").write_bytes(FILES[WEIGHTS])
    assert get() == FILES
    assert [request.range for request in server.seen(WEIGHTS_PATH)] == ["bytes=300000-"]


def test_what_is_too_long_is_thrown_away(get: Get, server: FileServer, tmp_path: Path):
    (tmp_path / "124M.partial").mkdir()
    (tmp_path / f"124M.partial/{WEIGHTS}.part").write_bytes(FILES[WEIGHTS] + b"more")
    assert get() == FILES
    assert [request.range for request in server.seen(WEIGHTS_PATH)] == ["bytes=300004-", None]


@pytest.mark.parametrize("ignore_if_range", [False, True])
def test_a_file_that_changed_between_attempts_is_read_from_the_start(
    get: Get, server: FileServer, ignore_if_range: bool
):
    server.files[WEIGHTS_PATH] = bytes(len(FILES[WEIGHTS]))
    server.plan(WEIGHTS_PATH, Twist(end_after=200_000))
    waits = []

    def change(wait_s: float) -> None:
        waits.append(wait_s)
        server.files[WEIGHTS_PATH] = FILES[WEIGHTS]

    server.plan(WEIGHTS_PATH, Twist(etag='"new"', ignore_if_range=ignore_if_range))
    assert get(replace(HASTE, sleep=change)) == FILES
    # Had the two versions been put together, the hash would have cost another request.
    assert len(server.seen(WEIGHTS_PATH)) == (3 if ignore_if_range else 2)
    assert len(waits) == (2 if ignore_if_range else 1)


def test_a_weak_version_is_no_condition_and_no_hindrance(get: Get, server: FileServer):
    server.plan(WEIGHTS_PATH, Twist(etag='W/"1"', end_after=200_000))
    assert get() == FILES
    assert resumed_at(server) == [196_608]
    assert server.seen(WEIGHTS_PATH)[1].if_range is None


def test_a_file_that_comes_compressed_is_unpacked_and_never_resumed_in_the_middle(
    get: Get, server: FileServer
):
    server.plan(
        WEIGHTS_PATH,
        Twist(compress=True, end_after=200_000),
        Twist(compress=True),
        Twist(compress=True),
    )
    assert get() == FILES
    assert [request.range for request in server.seen(WEIGHTS_PATH)][2] is None


def test_bytes_beyond_the_announced_ones_are_not_read(get: Get, server: FileServer):
    for name in FILES:
        server.plan(PREFIX + name, Twist(extra=b"HTTP/1.1 200 OK\r\n\r\ngarbage"))
    assert get() == FILES


def test_an_endless_answer_is_ended(get: Get, server: FileServer, tmp_path: Path):
    path = PREFIX + "vocab.json"
    server.files[path] = bytes(2 * SPARE_BYTES)
    server.plan(path, Twist(headers={"Content-Length": "", "Connection": "close"}))
    with pytest.raises(DownloadError, match=f"more than the {len(FILES['vocab.json']) + 2**20} "):
        get()
    assert not list((tmp_path / "124M.partial").glob("vocab*"))
