"""Where the parts of a JSON object stand, and objects changed in their bytes."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_interceptor.dialects import splice

TEXT = st.text(st.sampled_from('ab"\\/{}[],: \n\té😀'), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=15,
)
FORMS = st.fixed_dictionaries(
    {
        "indent": st.none() | st.integers(0, 3),
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([None, (",", ":"), (" , ", " : ")]),
    }
)
OBJECTS = st.dictionaries(TEXT, JSON, min_size=1, max_size=5)


def written(data: Any, form: dict[str, Any]) -> bytes:
    return json.dumps(data, **form).encode()


@given(OBJECTS, FORMS, st.sampled_from([b"", b" \n"]))
def test_every_member_is_found_in_every_form(data, form, space):
    text = space + written(data, form) + space
    found = splice.scan(text, orjson.loads(text)).members
    assert {name: json.loads(text[value:end]) for name, (_, value, end) in found.items()} == data


@given(st.lists(JSON, max_size=5), FORMS)
def test_every_item_is_found_in_every_form(values, form):
    text = written({"a": 1, "list": values, "z": 2}, form)
    scan = splice.scan(text, orjson.loads(text), listed="list")
    assert [json.loads(text[start:end]) for start, end in scan.items["list"]] == values
    _, value, end = scan.members["list"]
    assert json.loads(text[value:end]) == values
    assert json.loads(text[slice(*scan.members["z"][1:])]) == 2


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), FORMS)
def test_usual_messages_are_found_whatever_their_text(turns, form):
    data = {"messages": [{"role": role, "content": text} for role, text in turns]}
    text = written(data, form)
    scan = splice.scan(text, data, listed="messages")
    assert [json.loads(text[start:end]) for start, end in scan.items["messages"]] == data[
        "messages"
    ]


@given(OBJECTS, FORMS, st.data())
def test_changing_members_equals_changing_keys(data, form, draw):
    names = [*data, "new"]
    gone = draw.draw(st.sets(st.sampled_from(list(data)), max_size=len(data) - 1))
    changed = draw.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=3))
    changes: dict[str, bytes | None] = dict.fromkeys(gone)
    changes |= {name: json.dumps(value).encode() for name, value in changed.items()}
    if not {name for name in data if changes.get(name, b"") is not None}:
        return
    text = written(data, form)
    scan = splice.scan(text, orjson.loads(text))
    out = splice.spliced(text, splice.changes(text, scan.members, changes))
    expected = {name: value for name, value in (data | changed).items()}
    assert json.loads(out) == {
        name: value for name, value in expected.items() if name in changed or name not in changes
    }


@given(OBJECTS, FORMS)
def test_no_change_leaves_every_byte(data, form):
    text = written(data, form)
    members = splice.scan(text, orjson.loads(text)).members
    assert splice.spliced(text, splice.changes(text, members, {})) == text


def test_numbers_keep_their_form_and_long_texts_their_escapes():
    long = '"' + 'a \\" b \\\\ ' * 200 + '\\\\"'
    text = b'{"big":123456789012345678901234567890, "f" : 1.10,"t":%b,"x":[1 ,{"y":2e0}]}' % (
        long.encode()
    )
    data = orjson.loads(text)
    members = splice.scan(text, data).members
    assert text[slice(*members["t"][1:])] == long.encode()
    out = splice.spliced(text, splice.changes(text, members, {"f": None, "x": b"7"}))
    assert out.startswith(b'{"big":123456789012345678901234567890, "t":')
    assert out.endswith(b',"x":7}')


@pytest.mark.parametrize(
    "text", [b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b'{"a":[],"b":1,"a":{}}']
)
def test_a_repeated_name_is_refused(text):
    with pytest.raises(splice.Repeated):
        splice.scan(text, orjson.loads(text))
