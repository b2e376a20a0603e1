"""Free-form values: whatever JSON can say, and tuples too, of any shape in any sample.

A plain list or dict in a sample is structure, the same in every sample. Wrapped in `Json`
it is one value, and may differ from sample to sample.

Two things are written that JSON lacks: a tuple is {"()": [...]}, and a dict that has other
keys than str, or the one key "()" or "{}", is {"{}": [[key, value], ...]}. NaN and the
infinities are the tokens NaN, Infinity and -Infinity.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from millstream.errors import CorruptData, SampleError
from millstream.format.codecs.codec import BlobCodec

_SPECIAL = ({"()"}, {"{}"})


@dataclass(frozen=True, slots=True)
class Json:
    """Marks a value of a sample to be stored as JSON; reading gives back the bare value.

    Args:
        value: None, bool, int, float, str, and lists, tuples and dicts of these (dict keys: None,
            bool, int, float or str). SampleError for others, when they are stored.
    """

    value: Any


class JsonCodec(BlobCodec):
    """Compact UTF-8 JSON of the wrapped value, dicts in their own order."""

    kind = "json"

    def describe(self, value: Any) -> str | None:
        return "" if type(value) is Json else None

    def alike(self, example: Any) -> None:
        return None

    def encode(self, value: Json) -> bytes:
        try:
            text = json.dumps(_to_json(value.value), separators=(",", ":"), ensure_ascii=False)
            return text.encode()
        except (RecursionError, UnicodeEncodeError) as error:
            raise SampleError(f"a Json value cannot be written as JSON: {error}") from None

    def decode(self, payload: memoryview) -> Any:
        try:
            return _from_json(json.loads(bytes(payload)))
        except (ValueError, RecursionError, TypeError) as error:
            raise CorruptData(f"not a stored JSON value: {error}") from None


def _to_json(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_to_json(item) for item in value]
    if type(value) is tuple:
        return {"()": [_to_json(item) for item in value]}
    if type(value) is dict:
        if all(type(key) is str for key in value) and value.keys() not in _SPECIAL:
            return {key: _to_json(item) for key, item in value.items()}
        return {"{}": [[_key_to_json(key), _to_json(item)] for key, item in value.items()]}
    raise SampleError(
        f"a Json value holds a {type(value).__name__}; it may hold None, bool, int, float, str, "
        "and lists, tuples and dicts of these"
    )


def _key_to_json(key: Any) -> Any:
    if key is None or type(key) in (bool, int, float, str):
        return key
    raise SampleError(f"a Json value has a dict key of type {type(key).__name__}")


def _from_json(value: Any) -> Any:
    if type(value) is list:
        return [_from_json(item) for item in value]
    if type(value) is not dict:
        return value
    if value.keys() == {"()"}:
        return tuple(_from_json(item) for item in value["()"])
    if value.keys() == {"{}"}:
        return {key: _from_json(item) for key, item in value["{}"]}
    return {key: _from_json(item) for key, item in value.items()}
