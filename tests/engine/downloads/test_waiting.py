"""Servers that are busy, silent or gone: how long they are waited for, and when no more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from engine.download import download
from engine.fetch import CHUNK_BYTES, DownloadError, Patience
from tests.engine.downloads.file_server import FileServer, Twist
from tests.engine.downloads.small_release import (
    FILES,
    HASTE,
    WEIGHTS,
    WEIGHTS_PATH,
    Get,
    Watcher,
    contents,
    make_release,
)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(get: Get, server: FileServer, watcher: Watcher, status: int):
    server.plan(WEIGHTS_PATH, Twist(status=status), Twist(status=status))
    assert get() == FILES
    assert sum(str(status) in line for line in watcher.lines) == 2


@pytest.mark.parametrize(("said", "low_s", "high_s"), [("7", 7, 7), ("99999", 30, 30), ("x", 0, 0)])
def test_the_wait_is_the_one_that_the_server_asks_for_up_to_a_bound(
    get: Get,
    server: FileServer,
    said: str,
    low_s: float,
    high_s: float,
):
    waits: list[float] = []
    server.plan(WEIGHTS_PATH, Twist(status=429, headers={"Retry-After": said}))
    assert get(replace(HASTE, longest_wait_s=30, sleep=waits.append)) == FILES
    assert low_s <= waits[0] <= high_s
    assert len(waits) == 1


def test_the_wait_may_be_asked_for_as_a_date(get: Get, server: FileServer):
    waits: list[float] = []
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    server.plan(WEIGHTS_PATH, Twist(status=503, headers={"Retry-After": later}))
    assert get(replace(HASTE, longest_wait_s=7200, sleep=waits.append)) == FILES
    assert 3600 - 60 < waits[0] <= 3600


def test_the_waits_double_and_have_a_bound():
    patience = Patience(backoff_s=1, longest_wait_s=10)
    for attempt in range(1, 20):
        whole_s = min(10, 2.0 ** (attempt - 1))
        drawn = [patience.wait_s(attempt, 0) for _ in range(50)]
        assert whole_s / 2 <= min(drawn)
        assert max(drawn) <= whole_s


def test_a_server_that_stays_broken_is_given_up_and_what_arrived_is_kept(
    get: Get, server: FileServer, tmp_path: Path
):
    server.plan(WEIGHTS_PATH, Twist(end_after=200_000), *[Twist(status=500)] * 9)
    with pytest.raises(DownloadError, match=r"500 .*gave up after 4 attempts"):
        get()
    assert len(server.seen(WEIGHTS_PATH)) == 4
    assert (tmp_path / f"124M.partial/{WEIGHTS}.part").stat().st_size == 196_608


def test_a_server_that_starts_over_each_time_is_given_up(get: Get, server: FileServer):
    server.plan(WEIGHTS_PATH, *[Twist(end_after=200_000, ignore_range=True)] * 99)
    with pytest.raises(DownloadError, match="gave up"):
        get(replace(HASTE, progress_bytes=CHUNK_BYTES))
    assert len(server.seen(WEIGHTS_PATH)) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_not_asked_again(get: Get, server: FileServer, status: int):
    server.plan(WEIGHTS_PATH, Twist(status=status))
    with pytest.raises(DownloadError, match=f"answered {status} "):
        get()
    assert len(server.seen(WEIGHTS_PATH)) == 1


def test_a_half_fetched_folder_does_not_pass_for_a_model(
    get: Get, server: FileServer, tmp_path: Path
):
    server.plan(WEIGHTS_PATH, Twist(status=404))
    with pytest.raises(DownloadError):
        get()
    assert (tmp_path / "124M.partial/vocab.json").exists()
    assert not (tmp_path / "124M.partial/config.json").exists()


def test_the_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
):
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    # A proxy is asked for whole addresses, so the server has the files under those.
    far = "http://far.invalid"
    server.files = {far + path: data for path, data in server.files.items()}
    folder = download(make_release(), tmp_path, watcher, mirror=far, patience=HASTE)
    assert contents(folder) == FILES


def test_redirects_without_an_end_are_an_error(get: Get, server: FileServer):
    server.plan(WEIGHTS_PATH, *[Twist(status=302, headers={"Location": WEIGHTS_PATH})] * 40)
    with pytest.raises(DownloadError, match="TooManyRedirects"):
        get()


@pytest.mark.parametrize("stall_after", [0, 200_000])
def test_a_server_that_falls_silent_is_left_after_the_read_timeout(
    get: Get,
    server: FileServer,
    watcher: Watcher,
    stall_after: int,
):
    server.plan(WEIGHTS_PATH, Twist(stall_after=stall_after))
    # No shorter, or a slow machine would seem silent again and again.
    assert get(replace(HASTE, read_s=2.0)) == FILES
    assert any("no answer within 2 s" in line for line in watcher.lines)


def test_a_server_that_is_not_there_is_named(tmp_path: Path, watcher: Watcher):
    with FileServer({}) as gone:
        mirror = gone.url
    with pytest.raises(DownloadError, match="cannot be reached; gave up after 4"):
        download(make_release(), tmp_path, watcher, mirror=mirror, patience=HASTE)
