"""Events that differ in their text alone: shown as they would be if each were taken apart."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from burnish_interceptor.compiled import compiled
from burnish_interceptor.dialects import chat_reply, chat_usual, sse
from burnish_interceptor.dialects.chat_reply import ChatStream

CANARY = "the walrus decides"
TEXT = st.text(max_size=12) | st.sampled_from(['"', "\\", "\n", "", '"}', "ü", "\x7f", " word"])
EXTRA = st.dictionaries(
    st.sampled_from(["content", "text", "usage", "obfuscation", "delta", "message"]),
    st.none() | st.sampled_from(["", " word", CANARY, "content"]),
    max_size=3,
)


def chunk(text, *, extra=None, before=False, index=0, **written):
    """Returns an event of one piece of text, with members that nobody asked for."""
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    named = {"id": "chatcmpl-1", "created": 1, "choices": [choice]}
    told = {**(extra or {}), **named} if before else {**named, **(extra or {})}
    return sse.encode(json.dumps(told, **written).encode())


def shown(pieces):
    stream = ChatStream(model="m", choices=1, usage=None)
    return [stream.feed(piece) for piece in pieces], stream.failed


def one_by_one(pieces, monkeypatch):
    """Returns the same with every event taken apart."""
    with monkeypatch.context() as patched:
        patched.setattr(chat_reply, "_TRIES", 0)
        return shown(pieces)


def taken_apart(monkeypatch):
    """Returns a list that every event is put on that is parsed."""
    parsed, piece = [], chat_usual.piece

    def counted(data, head):
        parsed.append(data)
        return piece(data, head)

    monkeypatch.setattr(chat_usual, "piece", counted)
    return parsed


@given(
    texts=st.lists(TEXT, min_size=2, max_size=12),
    extra=EXTRA,
    before=st.booleans(),
    ascii_only=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
)
@example(texts=["a", "b"], extra={"content": "a"}, before=True, ascii_only=True, separators=None)
def test_events_are_shown_as_if_each_were_taken_apart(texts, extra, before, ascii_only, separators):
    pieces = [
        chunk(one, extra=extra, before=before, ensure_ascii=ascii_only, separators=separators)
        for one in texts
    ]
    with pytest.MonkeyPatch.context() as patched:
        expected = one_by_one(pieces, patched)
    assert shown(pieces) == expected


@given(data=st.data())
def test_events_that_were_cut_or_changed_are_shown_as_if_each_were_taken_apart(data):
    pieces = [chunk(one) for one in ("a", "b", "c", "d")]
    place = data.draw(st.integers(1, 3))
    event = pieces[place]
    start = data.draw(st.integers(0, len(event)))
    end = data.draw(st.integers(start, len(event)))
    put = data.draw(st.sampled_from([b"", b'"', b"\n", b"\r", b"\xff", b"\\", b"}", b"\x00", b"x"]))
    pieces[place] = event[:start] + put + event[end:]
    with pytest.MonkeyPatch.context() as patched:
        expected = one_by_one(pieces, patched)
    assert shown(pieces) == expected


@pytest.mark.skipif(compiled(), reason="what is compiled calls its own functions")
def test_most_events_of_an_answer_are_not_parsed(monkeypatch):
    parsed = taken_apart(monkeypatch)
    found, failed = shown([chunk(f" word{place}") for place in range(50)])
    assert not failed
    assert len(found) == 50
    assert json.loads(sse.parse(found[49])[0])["choices"][0]["delta"] == {"content": " word49"}
    assert len(parsed) <= 2


@pytest.mark.skipif(compiled(), reason="what is compiled calls its own functions")
def test_events_that_tell_their_time_are_alike_until_it_changes(monkeypatch):
    parsed = taken_apart(monkeypatch)
    pieces = [chunk(f" word{at}", extra={"created": at // 10}) for at in range(50)]
    found, _ = shown(pieces)
    assert all(found)
    assert len(parsed) == 5  # The first is taken apart in another way; the next opens each ten.


def test_a_text_that_another_member_repeats_is_not_taken_for_the_answer():
    pieces = [chunk("a", extra={"content": "a"}, before=True) for _ in range(3)]
    leaking = chunk("a", extra={"content": CANARY}, before=True)
    found, _ = shown([*pieces, leaking])
    assert all(found)
    assert CANARY.encode() not in b"".join(found)


def test_an_event_that_is_shorter_than_its_two_sides_is_none_of_them():
    pieces = [chunk("a") for _ in range(3)]
    # Its text would be neither begun nor ended, by the same quotation mark.
    short = pieces[0].replace(b'"content": "a"', b'"content": "')
    found, failed = shown([*pieces, short])
    assert all(found[:3])
    assert found[3] == b""
    assert failed
