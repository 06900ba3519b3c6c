"""Messages that no well-known schema fits, as JSON with the schema of our own structs.

Arrays are lists; what is not finite is written as protobuf's JSON does: "NaN", "Infinity".
"""

from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from fusion_rt.logs.entry import Aside
from fusion_rt.messages import Message

_ASIDE = "transport"
"""Key under which an `Aside` stands beside the message's fields."""
_NUMBERS = {
    "type": ["array", "object"],
    "description": "numbers; rows where the array has two dimensions, its shape where it is empty",
}


def json_schema(kind: type[msgspec.Struct], **properties: Any) -> bytes:
    """JSON Schema of a struct as an object, all definitions inside, with further properties."""
    schema = msgspec.json.schema(kind, schema_hook=lambda _: _NUMBERS)
    definitions: dict[str, Any] = schema["$defs"]
    own = definitions.pop(kind.__name__)
    own["properties"] |= properties
    return msgspec.json.encode({**own, "$defs": definitions})


def message_schema(message: type[Message]) -> bytes:
    """JSON Schema of a message as it stands in a log."""
    return json_schema(message, **{_ASIDE: {"type": "object"}})


class JsonFormat:
    """Encodes and decodes one message type."""

    def __init__(self, message: type[Message]) -> None:
        self._message = message
        self._dtypes = _array_dtypes(message)
        self._encoder = msgspec.json.Encoder(enc_hook=_listed)

    def encode(self, message: Message, frame_id: str, aside: Aside) -> bytes:  # noqa: ARG002
        """The message's fields, and the aside under a key of its own where there is one."""
        fields = msgspec.structs.asdict(message)
        if written := msgspec.to_builtins(aside):
            fields[_ASIDE] = written
        return self._encoder.encode(fields)

    def decode(self, data: memoryview) -> tuple[Message, Aside]:
        fields: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        aside = msgspec.convert(fields.pop(_ASIDE, {}), Aside)
        fields = _with_arrays(fields, self._dtypes)
        message = msgspec.convert(fields, self._message, dec_hook=lambda _, array: array)
        return message, aside


def _listed(array: object) -> list[Any] | dict[str, Any]:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected ndarray, got {type(array).__name__}")
    if not array.size and array.ndim > 1:  # an empty list would not tell how wide its rows are
        return {"shape": array.shape}
    if array.dtype.kind != "f" or np.isfinite(array).all():
        plain: list[Any] = array.tolist()
        return plain
    return [_listed(row) if array.ndim > 1 else _named(row) for row in array]


def _named(value: np.floating[Any]) -> float | str:
    number = float(value)
    if np.isfinite(number):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _with_arrays(fields: dict[str, Any], dtypes: dict[str, np.dtype[Any]]) -> dict[str, Any]:
    found = dict(fields)
    for name in dtypes.keys() & fields.keys():
        written = fields[name]
        if isinstance(written, dict):
            found[name] = np.zeros(written["shape"], dtypes[name])
        elif written is not None:
            found[name] = np.array(written, dtypes[name])
    return found


def _array_dtypes(message: type[Message]) -> dict[str, np.dtype[Any]]:
    """Of the fields that are arrays, as their annotations say."""
    hints = get_type_hints(message)
    found = {}
    for name, hint in hints.items():
        for kind in (hint, *get_args(hint)):
            if get_origin(kind) is np.ndarray:
                found[name] = np.dtype(get_args(get_args(kind)[1])[0])
    return found
