"""Fills a message from what a person wrote, and names everything in it that is wrong.

Names are those of the proto. An enum value may be written short and in lower case, a duration in
seconds, and bytes, which hold JSON in this API, as the JSON value itself.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

Reader = Callable[[Any, Message, str, list[str]], None]
_WHOLE: Final = {
    FieldDescriptor.CPPTYPE_INT32: 31,
    FieldDescriptor.CPPTYPE_INT64: 63,
    FieldDescriptor.CPPTYPE_UINT32: 32,
    FieldDescriptor.CPPTYPE_UINT64: 64,
}
_REAL: Final = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


class MessageReader:
    """Reads values into messages, with readers of one's own for some of them."""

    def __init__(self, readers: Mapping[str, Reader] | None = None) -> None:
        """Prepares a reader.

        Args:
            readers: What reads a message of a kind, by the full name of its type.
        """
        self._readers = dict(readers or {})

    def fill(self, value: object, message: Message, place: str) -> list[str]:
        """Fills a message and returns a line for each thing that is wrong, with a fix.

        Args:
            value: The value, as read from JSON, YAML or TOML.
            message: Filled as far as the value is right.
            place: How the value is called in those lines; empty at the top.
        """
        problems: list[str] = []
        self._message(value, message, place, problems)
        return problems

    def fields(self, value: object, message: Message, place: str, problems: list[str]) -> None:
        """Fills a message field by field, even one that has a reader of its own."""
        if not isinstance(value, Mapping):
            problems.append(f"{_named(place)} is {_kind(value)}; give a table")
            return
        known = cast(Descriptor, message.DESCRIPTOR).fields_by_name
        chosen: dict[str, str] = {}
        for key, item in value.items():
            path = f"{place}.{key}" if place else str(key)
            field = known.get(str(key))
            if field is None:
                problems.append(f"`{path}` is not known; {_hint(str(key), list(known))}")
                continue
            group = field.containing_oneof
            if group is not None and not _optional(field):
                other = chosen.setdefault(group.name, field.name)
                if other != field.name:
                    problems.append(f"`{path}` stands beside `{other}`; keep one of them")
                    continue
            self._field(field, item, message, path, problems)

    def _message(self, value: object, message: Message, place: str, problems: list[str]) -> None:
        full_name = cast(Descriptor, message.DESCRIPTOR).full_name
        if full_name in self._readers:
            self._readers[full_name](value, message, place, problems)
        elif isinstance(message, duration_pb2.Duration):
            _duration(value, message, place, problems)
        elif isinstance(message, struct_pb2.Struct):
            _struct(value, message, place, problems)
        else:
            self.fields(value, message, place, problems)

    def _field(
        self, field: FieldDescriptor, value: object, message: Message, place: str, found: list[str]
    ) -> None:
        if value is None:
            return
        target = getattr(message, field.name)
        if isinstance(target, timestamp_pb2.Timestamp):
            return
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._map(field, value, target, place, found)
        elif field.is_repeated:
            if not isinstance(value, list | tuple):
                found.append(f"`{place}` is {_kind(value)}; give a list")
                return
            for index, item in enumerate(value):
                self._item(field, item, target, f"{place}[{index}]", found)
        elif field.message_type is not None:
            target.SetInParent()
            self._message(value, target, place, found)
        else:
            scalar = _scalar(field, value, place, found)
            if scalar is not None:
                setattr(message, field.name, scalar)

    def _item(
        self,
        field: FieldDescriptor,
        item: object,
        target: Any,  # noqa: ANN401 - a repeated or map container
        place: str,
        found: list[str],
    ) -> None:
        if field.message_type is not None:
            self._message(item, target.add(), place, found)
            return
        scalar = _scalar(field, item, place, found)
        if scalar is not None:
            target.append(scalar)

    def _map(
        self,
        field: FieldDescriptor,
        value: object,
        target: Any,  # noqa: ANN401 - a repeated or map container
        place: str,
        found: list[str],
    ) -> None:
        if not isinstance(value, Mapping):
            found.append(f"`{place}` is {_kind(value)}; give a table")
            return
        entry = cast(Descriptor, field.message_type).fields_by_name["value"]
        for key, item in value.items():
            path = f"{place}.{key}"
            if entry.message_type is not None:
                self._message(item, target[str(key)], path, found)
                continue
            scalar = _scalar(entry, item, path, found)
            if scalar is not None:
                target[str(key)] = scalar


def _scalar(field: FieldDescriptor, value: object, place: str, found: list[str]) -> object:
    """Returns a value as the field wants it; None, and a line, when it is another kind."""
    wanted = ""
    if field.enum_type is not None:
        number = _enum(field.enum_type, value)
        if number is not None:
            return number
        names = [name.lower() for name in _short_names(field.enum_type)]
        wanted = f"one of {', '.join(names)}"
    elif field.type == FieldDescriptor.TYPE_BYTES:
        return value.encode() if isinstance(value, str) else json.dumps(value).encode()
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if isinstance(value, bool):
            return value
        wanted = "true or false"
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if isinstance(value, str):
            return value
        wanted = "a text"
    elif field.cpp_type in _REAL:
        if isinstance(value, int | float) and not isinstance(value, bool) and _finite(value):
            return float(value)
        wanted = "a finite number"
    else:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and abs(cast(int, value)) < 2 ** _WHOLE[field.cpp_type]:
            return value
        wanted = "a whole number"
    found.append(f"`{place}` is {_kind(value)}; give {wanted}")
    return None


def _enum(descriptor: EnumDescriptor, value: object) -> int | None:
    if not isinstance(value, str):
        return None
    word = value.strip().upper().replace("-", "_")
    if not word:
        return 0
    for name, number in _short_names(descriptor).items():
        if word in (name, descriptor.values_by_number[number].name):
            return number
    return None


def _short_names(descriptor: EnumDescriptor) -> dict[str, int]:
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {one.name.removeprefix(prefix): one.number for one in descriptor.values if one.number}


def _duration(
    value: object, message: duration_pb2.Duration, place: str, problems: list[str]
) -> None:
    text = value.strip().removesuffix("s") if isinstance(value, str) else value
    try:
        seconds = float(cast(str, text))
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds < 1e9:
        problems.append(f"`{place}` is {_kind(value)}; give seconds, as a number from 0")
        return
    message.FromNanoseconds(round(seconds * 1e9))


def _struct(value: object, message: struct_pb2.Struct, place: str, problems: list[str]) -> None:
    if not isinstance(value, Mapping):
        problems.append(f"`{place}` is {_kind(value)}; give a table")
        return
    try:
        ParseDict(cast(dict[str, object], dict(value)), message)
    except (ParseError, TypeError, ValueError):
        problems.append(f"`{place}` holds a value that is no JSON; give plain values")


def _optional(field: FieldDescriptor) -> bool:
    """Whether the field's oneof is only what `optional` is made of."""
    group = field.containing_oneof
    return group is not None and group.name.startswith("_")


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _named(place: str) -> str:
    return f"`{place}`" if place else "it"


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def _hint(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(known))}"
