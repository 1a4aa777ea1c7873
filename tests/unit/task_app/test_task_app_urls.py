"""Every form of an inference URL means one chat address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.task_app.urls import InferenceUrlInvalid, chat_url, client_base

HOST = "http://127.0.0.1:7000"


@pytest.mark.parametrize(
    ("given_url", "path"),
    [
        ("/r/token/v1", "/r/token/v1/chat/completions"),
        ("/r/token/v1/", "/r/token/v1/chat/completions"),
        ("/r/token", "/r/token/v1/chat/completions"),
        ("/r/token/v1/chat", "/r/token/v1/chat/completions"),
        ("/r/token/v1/chat/completions", "/r/token/v1/chat/completions"),
        ("", "/v1/chat/completions"),
        (
            "/api/interceptor/v1/trial?cid=x",
            "/api/interceptor/v1/trial/chat/completions?cid=x",
        ),
        (
            "/api/interceptor/v1/trial?cid=x/chat/completions",
            "/api/interceptor/v1/trial/chat/completions?cid=x",
        ),
        (
            "/api/mipro/v1/system/rollout/chat/completions",
            "/api/mipro/v1/system/rollout/chat/completions",
        ),
    ],
)
def test_a_chat_address_is_made_of_every_form(given_url, path):
    assert chat_url(HOST + given_url) == HOST + path


@pytest.mark.parametrize("url", ["", "localhost:80", "ftp://h/v1", "http://", "file:///etc/passwd"])
def test_a_url_that_cannot_be_posted_to_is_refused(url):
    with pytest.raises(InferenceUrlInvalid):
        chat_url(url)


@given(
    st.lists(st.text("abcv1/?=&", max_size=8), max_size=4).map("/".join),
)
def test_a_chat_address_stays_as_it_is(path):
    once = chat_url(f"{HOST}/{path}")
    assert chat_url(once) == once


def test_an_official_client_gets_the_base_and_the_query_apart():
    assert client_base(f"{HOST}/api/interceptor/v1/t?cid=x&b=1") == (
        f"{HOST}/api/interceptor/v1/t",
        {"cid": "x", "b": "1"},
    )
