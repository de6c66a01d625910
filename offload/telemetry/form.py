"""Events as plain maps, for JSON and msgpack, and back from files and peers that are not trusted.

    fields = to_fields(event)           # {"event": "sampled", "at_s": 12.0, ...}
    event = from_fields(fields)         # ValueError if it is none

An event's fields are those of its class, by their names; ``event`` is the class's name in
snake_case. Unknown fields are left out, so that newer programs may say more.
"""

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from typing import Any, Final, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from offload.messages.envelope import is_seq, shown, text
from offload.telemetry.events import TelemetryEvent

# No pipeline has as many tasks, and no machine listens on as many addresses.
MAX_ITEMS: Final = 1024

# Past all that can be measured, and within what a float holds.
MAX_NUMBER: Final = 1e300

# Takes what was found, and the name of its field for an error.
Reader: TypeAlias = Callable[[object, str], Any]

_KINDS: Final[Mapping[str, type]] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", each.__name__).lower(): each
    for each in get_args(TelemetryEvent)
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def event_name(event: TelemetryEvent) -> str:
    """Return the event's name, such as ``session_lost``."""
    return _NAMES[type(event)]


def to_fields(event: TelemetryEvent) -> dict[str, Any]:
    """Return the event as a map of plain values."""
    return {"event": event_name(event), **_plain(event)}


def from_fields(found: object) -> TelemetryEvent:
    """Read what `to_fields` wrote; texts become one line of at most 300 characters.

    Raises:
        ValueError: It is no event, or a field is missing, of the wrong type or out of range.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"event is {shown(found)}, expected a map")
    name = found.get("event")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"event is {shown(name)}, expected one of {', '.join(_KINDS)}")
    event: TelemetryEvent = _read_map(kind, found, str(name))
    return event


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in _readers(cast("Any", type(value)))}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


# Made once for each type, since a server reads a sample of every device each second.
@cache
def _readers(kind: Any) -> dict[str, Reader]:
    hints = get_type_hints(kind)
    return {each.name: _reader(hints[each.name]) for each in fields(kind)}


def _reader(kind: Any) -> Reader:
    """Return what reads a field's type: a number, a text, a list, a map, or None where allowed."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (_reader(each) for each in arguments if each is not types.NoneType)
        return lambda found, name: None if found is None else inner(found, name)
    if origin is tuple:
        return partial(_read_items, _reader(arguments[0]))
    if is_dataclass(kind):
        return partial(_read_map, kind)
    return _PLAIN_READERS[kind]


def _read_map(kind: Any, found: object, name: str) -> Any:
    if not isinstance(found, Mapping):
        raise ValueError(f"{name} is {shown(found)}, expected a map")
    try:
        return kind(**{each: read(found[each], each) for each, read in _readers(kind).items()})
    except KeyError as error:
        raise ValueError(f"{name} lacks {error.args[0]}") from None


def _read_items(read: Reader, found: object, name: str) -> tuple[Any, ...]:
    if not isinstance(found, list) or len(found) > MAX_ITEMS:
        raise ValueError(f"{name} is {shown(found)}, expected a list of at most {MAX_ITEMS}")
    return tuple([read(each, name) for each in found])


def _read_number(found: object, name: str) -> float:
    # JSON may have integers that no float can hold.
    if type(found) not in (int, float) or not abs(cast("float", found)) <= MAX_NUMBER:
        raise ValueError(f"{name} is {shown(found)}, expected a finite number")
    return float(cast("float", found))


def _read_count(found: object, name: str) -> int:
    if not is_seq(found):
        raise ValueError(f"{name} is {shown(found)}, expected a count")
    return cast("int", found)


def _read_text(found: object, name: str) -> str:
    if not isinstance(found, str):
        raise ValueError(f"{name} is {shown(found)}, expected text")
    return text(found)


def _read_flag(found: object, name: str) -> bool:
    if not isinstance(found, bool):
        raise ValueError(f"{name} is {shown(found)}, expected true or false")
    return found


_PLAIN_READERS: Final[Mapping[type, Reader]] = {
    float: _read_number,
    int: _read_count,
    str: _read_text,
    bool: _read_flag,
}
