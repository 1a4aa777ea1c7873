"""Asking a task app what it is: an address that cannot be, and an app that is away."""

import pytest

from burnish.task_probe import TaskAppUnreachable, TaskAppUrlInvalid, ask_task_info, check_uri


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:8101", "https://app.example/x", "grpc://app:50051", "http://[::1]:80"]
)
def test_an_address_that_can_be_passes(uri):
    check_uri(uri)


@pytest.mark.parametrize(
    "uri", ["http://h:99999", "http://h:0", "http://h:x", "http://", "http://u:secret@h:99999"]
)
async def test_an_address_that_cannot_be_is_refused_without_its_secrets(uri):
    with pytest.raises(TaskAppUrlInvalid, match="port") as caught:
        await ask_task_info(uri)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "grpc://127.0.0.1:1"])
async def test_an_app_that_is_away_is_named_in_both_dialects(uri):
    with pytest.raises(TaskAppUnreachable, match=f"`{uri}.*does not answer"):
        await ask_task_info(uri)
