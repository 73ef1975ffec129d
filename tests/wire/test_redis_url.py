"""What a Redis URL says: one server, Sentinels, a Cluster; and that its passwords stay hidden."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.connection import connect
from wire.redis_url import SCHEMES, Kind, hide_password, read_url

TYPED = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="?&#"), min_size=1
)


def test_one_server_is_read_as_redis_py_reads_it():
    read = read_url("redis://ovid:s%40cret@redis.example:6380/2?socket_timeout=9")
    assert (read.kind, read.hosts) == (Kind.ALONE, ())
    assert read.options == {
        "username": "ovid",
        "password": "s@cret",
        "host": "redis.example",
        "port": 6380,
        "db": 2,
        "socket_timeout": 9.0,
    }


def test_sentinels_name_a_master_and_have_a_login_of_their_own():
    url = "redis+sentinel://ovid:pw@one,[::1]:5/main?db=3&sentinel_password=s%26x&socket_timeout=9"
    read = read_url(url)
    assert (read.kind, read.service) == (Kind.SENTINEL, "main")
    assert read.hosts == (("one", 26379), ("::1", 5))
    login = {"username": "ovid", "password": "pw"}
    assert read.options == {**login, "db": 3, "socket_timeout": 9.0}
    assert read.host_options == {"password": "s&x", "socket_timeout": 9.0}


def test_the_nodes_of_a_cluster_have_one_login():
    read = read_url("redis+cluster://:pw@one:7000,two")
    assert (read.kind, read.hosts) == (Kind.CLUSTER, (("one", 7000), ("two", 6379)))
    assert read.options == read.host_options == {"password": "pw"}


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_tls_is_for_the_hosts_as_well(kind: str, tmp_path: Any):
    (tmp_path / "ca").write_text("")
    path = "main" if kind == "sentinel" else ""
    read = read_url(f"rediss+{kind}://one:1/{path}?ssl_ca_certs={tmp_path}/ca")
    for options in (read.options, read.host_options):
        assert options["connection_class"].__name__ == "SSLConnection"
        assert options["ssl_ca_certs"] == f"{tmp_path}/ca"


@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@example.com",
        "redis://:s3cret/x@example.com:1/0",
        "redis+sentinel://:s3cret@one:1,two:2",
        "redis+cluster://:s3cret@one:1/name",
        "redis+cluster://:s3cret@one:1,,two:2",
        "redis+cluster://:s3cret@one:port",
        "redis+something://:s3cret@one:1",
        "unix+cluster://:s3cret@one:1",
        "redis+sentinel://",
        "redis://:s3cret@host?db=s3cret",
        "redis://:s3cret@host?s3cret=1",
        "rediss://:s3cret@host?ssl_cert_reqs=s3cret",
        "rediss://:s3cret@host?ssl_ca_certs=%00",
        "redis://:s3cret@host?sentinel_password=s3cret",
        "",
    ],
)
async def test_what_cannot_be_used_is_refused_in_a_sentence_without_its_password(url: str):
    with pytest.raises(ValueError, match="the Redis URL ") as refused:
        connect(url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


async def test_a_certificate_that_is_not_there_is_named(tmp_path: Any):
    with pytest.raises(ValueError, match=f"ssl_ca_certs .* cannot be read: {tmp_path}/ca"):
        connect(f"rediss://:s3cret@host?ssl_ca_certs={tmp_path}/ca")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pass@host", "redis://:***@host"),
        ("redis://user@host:1/2", "redis://user@host:1/2"),
        ("rediss://user:p%40ss:w@host:1/2?a=b", "rediss://user:***@host:1/2?a=b"),
        ("redis://host?password=hidden&db=1", "redis://host?password=***&db=1"),
        ("redis://host:1/0?password=hid@den&db=1", "redis://host:1/0?password=***&db=1"),
        ("redis://:not/en:co@ded@host:1/0", "redis://:***@host:1/0"),
        ("unix://user:pass@/run/redis.sock", "unix://user:***@/run/redis.sock"),
        ("redis+cluster://u:p@ss@one:1,two:2", "redis+cluster://u:***@one:1,two:2"),
        (
            "rediss://h:1?ssl_ca_certs=ca&ssl_password=p",
            "rediss://h:1?ssl_ca_certs=ca&ssl_password=***",
        ),
        (
            "redis+sentinel://u:p@ss@one:1,two:2/m?sentinel_password=p@ss&db=1",
            "redis+sentinel://u:***@one:1,two:2/m?sentinel_password=***&db=1",
        ),
    ],
)
def test_a_url_for_logs_hides_passwords_and_nothing_else(url: str, shown: str):
    assert hide_password(url) == shown


@given(password=TYPED, own=TYPED, scheme=st.sampled_from(SCHEMES))
def test_no_password_is_shown_however_it_was_typed(password: str, own: str, scheme: str):
    secret, other = f"<{password}>", f"[{own}]"
    shown = hide_password(f"{scheme}u:{secret}@one:1,two:2/m?sentinel_password={other}&a=b")
    assert shown == f"{scheme}u:***@one:1,two:2/m?sentinel_password=***&a=b"


@given(
    scheme=st.sampled_from((*SCHEMES, "")),
    rest=st.text("uphost0169:@/?&=,[]%#._-é\n ", max_size=40) | st.text(max_size=40),
)
def test_whatever_was_typed_is_read_or_refused_in_a_sentence(scheme: str, rest: str):
    assert "the Redis URL " in refusal(scheme + rest)


def refusal(url: str) -> str:
    try:
        connect(url)
    except ValueError as error:
        return str(error)
    return "the Redis URL is taken"
