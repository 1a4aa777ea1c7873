"""Which addresses a task app may have."""

import pytest

from burnish_controller.task_apps.address import AppAddress, TaskAppUriInvalid


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://127.0.0.1:8101", "http://127.0.0.1:8101"),
        ("http://127.0.0.1:8101/", "http://127.0.0.1:8101"),
        ("https://app.example/tasks/a/", "https://app.example/tasks/a"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("grpc://app:50051", "grpc://app:50051"),
    ],
)
def test_an_address_is_read(uri, shown):
    assert str(AppAddress.parse(uri)) == shown


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "scheme"),
        ("app.example", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://h", "scheme"),
        ("http://", "no host"),
        ("http://h:99999", "cannot be parsed"),
        ("http://user:secret@h", "credentials"),
        ("http://h?x=1", "query"),
        ("http://h#x", "fragment"),
        ("grpc://h", "host:port"),
        ("grpc://h:1/path", "host:port"),
        ("http://169.254.169.254/latest", "link-local"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[::ffff:169.254.169.254]/", "link-local"),
        ("http://[fd00:ec2::254]/", "link-local"),
        ("http://224.0.0.1/", "multicast"),
    ],
)
def test_another_address_is_refused_with_the_reason(uri, words):
    with pytest.raises(TaskAppUriInvalid, match=words) as caught:
        AppAddress.parse(uri)
    assert "secret" not in caught.value.message
