"""Messages that no well-known schema fits, as JSON with the schema of our own structs.

Arrays are lists; what is not finite is written as protobuf's JSON does: "NaN", "Infinity".
"""

from typing import Any

import msgspec
import numpy as np

from fusion_rt.logs.entry import Aside
from fusion_rt.messages import Detections, Message
from fusion_rt.transport.wire import Array

_ASIDE = "transport"
"""Key under which an `Aside` stands beside the message's fields."""
_NUMBERS = {"type": "array", "description": "numbers; rows where the array has two dimensions"}


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
        if self._message is Detections:
            fields = _with_arrays(fields)
        message = msgspec.convert(fields, self._message, dec_hook=lambda _, array: array)
        return message, aside


def _listed(array: object) -> list[Any]:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected ndarray, got {type(array).__name__}")
    if array.dtype.kind != "f" or np.isfinite(array).all():
        plain: list[Any] = array.tolist()
        return plain
    return [_listed(row) if array.ndim > 1 else _named(row) for row in array]


def _named(value: np.floating[Any]) -> float | str:
    number = float(value)
    if np.isfinite(number):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _with_arrays(fields: dict[str, Any]) -> dict[str, Any]:
    """Shapes that an empty list does not tell come from what stands beside it."""
    count = len(fields["scores"])
    boxes = np.array(fields["boxes"], np.float32).reshape(count, -1 if count else 9)
    contributions: Array | None = None
    if fields.get("contributions") is not None:
        members = len(fields["members"])
        contributions = np.array(fields["contributions"], np.float32).reshape(count, members)
    return {
        **fields,
        "boxes": boxes,
        "scores": np.array(fields["scores"], np.float32),
        "class_ids": np.array(fields["class_ids"], np.uint8),
        "contributions": contributions,
    }
