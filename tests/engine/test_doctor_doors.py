"""`python -m engine doctor`: what keeps HTTP and health from being served."""

import socket
from pathlib import Path

import pytest

from tests.engine.doctor import Examine, examine, models, only
from tests.engine.test_command_line import here
from tests.ports import held_port

__all__ = ["examine", "here", "models"]


def has_ipv6() -> bool:
    """Say whether this machine can be reached at its own IPv6 address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("door", ["http", "health"])
def test_a_port_that_is_taken_is_a_warning(examine: Examine, door: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, lines = examine(f"--{door}-port", str(taken.getsockname()[1]))
    assert status == 1
    line = only(lines, "warn")
    assert "cannot be had: " in line
    assert f"Take another OVID_{door.upper()}_PORT" in line


def test_two_doors_at_one_port_are_a_warning(examine: Examine):
    with held_port() as port:
        status, lines = examine("--http-port", str(port), "--health-port", str(port))
    assert status == 1
    assert "Take another OVID_HEALTH_PORT" in only(lines, "warn")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("door", ["http", "health"])
def test_a_free_port_at_an_ipv6_address_is_free(examine: Examine, door: str):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as gone:
        port = gone.getsockname()[1]
    status, lines = examine(f"--{door}-port", str(port), f"--{door}-host", "::1")
    assert status == 0
    assert f"ok    {door}: port {port} at ::1 is free." in lines


@pytest.mark.parametrize("host", ["nö..x", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_s_is_a_fault(examine: Examine, host: str):
    status, lines = examine("--health-port", "9", "--health-host", host)
    assert status == 2
    assert only(lines, "FAULT").startswith("FAULT health: ")
    assert "Correct OVID_HEALTH_HOST" in only(lines, "FAULT")


def test_http_that_serve_would_not_start_with_is_a_fault(examine: Examine):
    status, lines = examine("--http-host", "0.0.0.0")
    assert status == 2
    assert only(lines, "FAULT").startswith("FAULT http: The HTTP host is 0.0.0.0, ")
    assert only(lines, "FAULT").endswith("`serve` does not start.")


def test_a_models_folder_that_takes_no_uploads_is_a_fault_only_with_http(
    examine: Examine, models: Path, redis_url: str
):
    (models / ".files").write_text("in the way")
    status, lines = examine()
    assert status == 2
    said = f"uploads cannot be kept in {models}. Let {models}/.files be a folder"
    assert said in only(lines, "FAULT")
    assert examine(redis_url=redis_url)[0] < 2
