"""Messages as plain JSON values, for `--json`, event dictionaries and files, and back.

Differs from protobuf's own JSON form where people read it: names are as in the proto, a whole
number is never text, an enum value is its name in lower case without the prefix, a duration is
seconds, and a number that is 0 is there. Bytes, which hold JSON everywhere in this API, are text.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TypeVar, cast

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

Plain = dict[str, object]
MessageT = TypeVar("MessageT", bound=Message)


def to_plain(message: Message) -> Plain:
    """Returns a message as a dictionary; what is optional and absent is left out."""
    plain: Plain = {}
    for field in _fields(message):
        value = getattr(message, field.name)
        if field.is_repeated:
            plain[field.name] = _plain_repeated(field, value)
        elif not field.has_presence or message.HasField(field.name):
            plain[field.name] = _plain_value(field, value)
    return plain


def from_plain(plain: Mapping[str, object], message: MessageT) -> MessageT:
    """Fills a message from a dictionary that `to_plain` made; keys it does not know are skipped."""
    for field in _fields(message):
        value = plain.get(field.name)
        if value is None:
            continue
        if _is_map(field):
            _fill_map(field, cast(Mapping[str, object], value), getattr(message, field.name))
        elif field.is_repeated:
            for item in cast(list[object], value):
                _append(field, item, getattr(message, field.name))
        elif field.message_type is not None:
            _fill_message(value, getattr(message, field.name))
        else:
            setattr(message, field.name, _scalar(field, value))
    return message


def enum_name(descriptor: EnumDescriptor, number: int) -> str:
    """Returns an enum value's name, lower case and without prefix; empty when unspecified."""
    if number == 0:
        return ""
    value = descriptor.values_by_number.get(number)
    if value is None:
        return str(number)
    return value.name.removeprefix(_enum_prefix(descriptor)).lower()


def _enum_prefix(descriptor: EnumDescriptor) -> str:
    return descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")


def _fields(message: Message) -> list[FieldDescriptor]:
    return cast(list[FieldDescriptor], list(message.DESCRIPTOR.fields))


def _entry_field(field: FieldDescriptor, name: str) -> FieldDescriptor:
    entry = cast(Descriptor, field.message_type)
    return entry.fields_by_name[name]


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _plain_repeated(field: FieldDescriptor, value: object) -> object:
    if _is_map(field):
        held = _entry_field(field, "value")
        items = cast(Mapping[object, object], value).items()
        return {str(key): _plain_value(held, item) for key, item in sorted(items, key=_first_text)}
    return [_plain_value(field, item) for item in cast(list[object], value)]


def _first_text(item: tuple[object, object]) -> str:
    return str(item[0])


def _plain_value(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, timestamp_pb2.Timestamp):
        moment = value.ToDatetime(tzinfo=datetime.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, duration_pb2.Duration):
        return value.seconds + value.nanos / 1e9
    if isinstance(value, struct_pb2.Struct):
        return _whole_numbers(MessageToDict(value))
    if isinstance(value, Message):
        return to_plain(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if field.enum_type is not None:
        return enum_name(field.enum_type, cast(int, value))
    return value


def _whole_numbers(value: object) -> object:
    """Returns a Struct's value with whole numbers as such: a Struct knows only floating point."""
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _fill_message(value: object, message: Message) -> None:
    if isinstance(message, timestamp_pb2.Timestamp):
        message.FromDatetime(datetime.datetime.fromisoformat(cast(str, value)))
    elif isinstance(message, duration_pb2.Duration):
        message.FromNanoseconds(round(cast(float, value) * 1e9))
    elif isinstance(message, struct_pb2.Struct):
        ParseDict(cast(dict[str, object], value), message)
    else:
        # An empty message is present too, which only this says.
        message.SetInParent()
        from_plain(cast(Mapping[str, object], value), message)


def _append(field: FieldDescriptor, item: object, target: list[object]) -> None:
    if field.message_type is None:
        target.append(_scalar(field, item))
    else:
        _fill_message(item, target.add())  # type: ignore[attr-defined] # a repeated container


def _fill_map(
    field: FieldDescriptor, items: Mapping[str, object], target: dict[object, object]
) -> None:
    key_field = _entry_field(field, "key")
    value_field = _entry_field(field, "value")
    for key, item in items.items():
        real_key = _scalar(key_field, key)
        if value_field.message_type is None:
            target[real_key] = _scalar(value_field, item)
        else:
            _fill_message(item, cast(Message, target[real_key]))


def _scalar(field: FieldDescriptor, value: object) -> object:
    if field.enum_type is not None:
        name = cast(str, value)
        known = field.enum_type.values_by_name.get(_enum_prefix(field.enum_type) + name.upper())
        return 0 if not name or known is None else known.number
    if field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}:
        return int(cast(int, value))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return cast(str, value).encode()
    return value
