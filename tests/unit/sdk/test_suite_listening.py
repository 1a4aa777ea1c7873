"""Where a suite may listen: the form of an address, and whether it is free."""

import socket
import time

import pytest

from burnish.errors import FailedPrecondition, InvalidArgument
from burnish.suite import Suite, SuiteOptions
from burnish.suite.listening import host_and_port, refused, require_free
from burnish.suite.state import StateDir, StateDirInvalid


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        ("[::1]:80", ("::1", 80)),
        ("burnish.example:65535", ("burnish.example", 65535)),
    ],
)
def test_an_address_has_a_host_and_a_port(address, found):
    assert host_and_port(address, flag="--listen") == found


@pytest.mark.parametrize(
    "address",
    ["", ":80", "h", "h:", "h:0", "h:65536", "h:-1", "h:8_0", "h:٣", "::1:80", "[::1:80", "http://h:1"],
)  # fmt: skip
def test_another_form_is_refused_by_its_flag(address):
    with pytest.raises(InvalidArgument, match=r"^--listen `"):
        host_and_port(address, flag="--listen")


def test_options_with_a_wrong_address_cannot_be_made():
    with pytest.raises(InvalidArgument, match="--http-listen `nonsense`"):
        SuiteOptions(http_listen="nonsense")


def test_a_free_address_stays_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for _ in range(2):
        require_free(f"127.0.0.1:{port}", flag="--listen")


def test_a_taken_address_is_told_apart_from_one_that_can_never_be():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(FailedPrecondition, match="another program listens there"),
    ):
        require_free(f"127.0.0.1:{server.getsockname()[1]}", flag="--listen")
    for address, words in (("192.0.2.1:80", "of this machine"), ("no.invalid:80", "no host")):
        with pytest.raises(InvalidArgument, match=words):
            require_free(address, flag="--listen")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "from 1024 on"),
        (OSError(97, "Address family not supported"), "cannot be listened on: .*family"),
    ],
)
def test_every_refusal_is_told_in_words(error, words):
    assert isinstance(refused("--port 80", error), InvalidArgument)
    with pytest.raises(InvalidArgument, match=f"^--port 80: .*{words}"):
        raise refused("--port 80", error)


async def test_no_service_is_started_for_an_address_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        options = SuiteOptions(http_listen=f"127.0.0.1:{server.getsockname()[1]}")
        suite = Suite(tmp_path / "state", options=options)
        began = time.monotonic()
        with pytest.raises(FailedPrecondition, match="--http-listen `"):
            await suite.__aenter__()
    assert time.monotonic() - began < 5
    assert suite.processes == {}
    # The directory is free for the next try.
    state = StateDir(tmp_path / "state")
    state.lock()
    state.unlock()


def test_a_state_directory_that_is_a_file_or_lies_in_one_is_told_so(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(StateDirInvalid, match="it is a file, or lies in one"):
            StateDir(path).lock()
