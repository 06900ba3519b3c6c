"""The JSON Schema of rig files, for editors: completion and red lines while one is written."""

from typing import Any

import msgspec

from fusion_rt.drivers.registry import list_drivers, load_drivers
from fusion_rt.rig import RigFile
from fusion_rt.topics import TOPIC_NAME

_REFERENCE = "#/$defs/{name}"


def rig_schema() -> dict[str, Any]:
    """Of a rig file with the drivers that load here, each with its own options."""
    (root,), definitions = msgspec.json.schema_components([RigFile], ref_template=_REFERENCE)
    entries: dict[str, list[dict[str, str]]] = {}
    for listing in list_drivers():
        for kind in listing.kinds:
            name = f"{kind}_{listing.name}"
            definitions[name] = _options_schema(listing.name, listing.module, kind)
            entries.setdefault(kind, []).append({"$ref": _REFERENCE.format(name=name)})
    definitions["RigFile"]["properties"]["sensors"] = {
        "description": "one entry per topic, KIND/NAME",
        "type": "object",
        "patternProperties": {
            f"^{kind}/{TOPIC_NAME}$": {"oneOf": entries[kind]} for kind in entries
        },
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fusion_rt rig file",
        **root,
        "$defs": definitions,
    }


def rig_schema_text() -> str:
    """As committed under docs/."""
    return msgspec.json.format(msgspec.json.encode(rig_schema(), order="sorted")).decode() + "\n"


def _options_schema(name: str, module: str, kind: str) -> dict[str, Any]:
    options = load_drivers(name, module)[kind].options
    _, definitions = msgspec.json.schema_components([options], ref_template=_REFERENCE)
    schema: dict[str, Any] = definitions.pop(options.__name__)
    schema["properties"]["driver"] = {"const": name}
    if definitions:
        schema["$defs"] = definitions
    return schema
