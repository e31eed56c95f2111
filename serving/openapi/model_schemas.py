"""What /v1/models answers, as schemas."""

from __future__ import annotations

from serving.openapi.schemas import TASK, Schema, fields, number, text

_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_NAMES: Schema = {"type": "array", "items": {"type": "string"}}
_INTEGER: Schema = {"type": "integer"}

_REFUSED = fields(
    {
        "name": {"type": ["string", "null"], "description": "Null if its manifest cannot be read."},
        "bundle": text("Where it is, below the folders that the server looks in."),
        "state": {"type": "string", "const": "refused"},
        "reason": text(),
        "served": {"type": "boolean", "description": "Whether an older version of it still answers."},
    }
)

_LOADED = fields(
    {
        "name": text(),
        "state": {"type": "string", "enum": ["loading", "ready"]},
        "task": TASK,
        "scale": _INTEGER,
        "default": {"type": "boolean", "description": "Answers when no model is named and there is time enough."},
        "family": text("Shared by the bundles of one run."),
        "roles": {"type": "array", "items": {"type": "string", "enum": ["fast", "balanced", "best"]}},
        "target": text(),
        "target_reason": text("Why it runs there."),
        "slots": _INTEGER,
        "threads": {"type": "integer", "description": "Of one slot."},
        "batch": {"type": "integer", "description": "Tiles in one run, by what was measured."},
        "expected_ms": number("Of a full tile in one slot, as the machine is now."),
        "drift": number("Measured over promised time lately; null if nothing was promised or measured.", nullable=True),
        "db": number("Of the graph that is served, on held-out images; null if it was not scored.", nullable=True),
        "load_seconds": number(),
        "digest": text("SHA-256 over all bytes of the bundle."),
        "default_target": text("The fastest where the bundle was made."),
        "default_reason": text(),
        "method": text(),
        "parameters": _INTEGER,
        "created": text(),
        "size": {"type": "object", "description": "Sizes that the network takes, and its tiles."},
        "lineage": {"type": "object", "description": "Hashes of what it was made from."},
        "latency": {"type": "array", "items": {"$ref": "#/components/schemas/Latency"}},
        "speed": _OBJECTS | {"description": "Targets that were timed."},
        "quality": _OBJECTS,
        "steps": {"type": "array", "items": {"$ref": "#/components/schemas/Step"}},
    }
)

_UNLOADED = fields({"name": text(), "state": {"type": "string", "enum": ["unloaded", "loading"]}})

_MODELS = fields(
    {
        "models": {"type": "array", "items": {"$ref": "#/components/schemas/LoadedModel"}},
        "loading": _NAMES,
        "refused": {"type": "array", "items": {"$ref": "#/components/schemas/RefusedModel"}},
        "unloaded": _NAMES,
    }
)

_WORKER = fields(
    {
        "pid": _INTEGER,
        "state": {"type": "string", "enum": ["waiting", "done", "failed"]},
        "loaded": _NAMES,
        "swapped": _NAMES,
        "unloaded": _NAMES,
        "refused": _OBJECTS,
        "error": text(),
    },
    optional=("loaded", "swapped", "unloaded", "refused", "error"),
)

_CHANGE = fields(
    {
        "order": _INTEGER,
        "complete": {"type": "boolean", "description": "Whether all workers have carried it out."},
        "workers": {"type": "array", "items": _WORKER},
    }
)

_ONE_OF = [{"$ref": "#/components/schemas/LoadedModel"}, {"$ref": "#/components/schemas/RefusedModel"}, _UNLOADED]

MODEL_SCHEMAS: dict[str, Schema] = {
    "LoadedModel": _LOADED,
    "RefusedModel": _REFUSED,
    "Model": {"anyOf": _ONE_OF},
    "Models": _MODELS,
    "ModelChange": _CHANGE,
}
"""Name to schema, for `components`."""
