"""The JSON that the routes answer with, as schemas."""

from __future__ import annotations

from typing import Any

from serving.options import TASKS

Schema = dict[str, Any]


def fields(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these properties, all of which are there but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def text(description: str = "") -> Schema:
    """A string."""
    return {"type": "string"} | ({"description": description} if description else {})


def number(description: str = "", *, nullable: bool = False) -> Schema:
    """A number, or null."""
    kind: Schema = {"type": ["number", "null"] if nullable else "number"}
    return kind | ({"description": description} if description else {})


_INTEGER: Schema = {"type": "integer"}
TASK: Schema = {"type": "string", "enum": list(TASKS)}

_ERROR = fields({"error": fields({name: text() for name in ("code", "message", "request_id")})})

_LATENCY = fields(
    {
        "target": text(),
        "device": text(),
        "height": _INTEGER,
        "width": _INTEGER,
        "predicted_ms": number(),
        "predicted_error_ms": number("Plus or minus; null if not known.", nullable=True),
        "measured_ms": number(
            "Null if the network was not timed: its device was elsewhere when it was made.", nullable=True
        ),
        "spread": number("Of the measured runs; null if there were none.", nullable=True),
        "budget_ms": number(),
        "engine_version": text(),
        "date": {"type": "string", "format": "date"},
    },
    optional=("predicted_error_ms", "measured_ms", "spread"),
) | {"description": "What one picture of this size takes on one target."}

_STEP = fields(
    {
        "name": text(),
        "status": {"type": "string", "enum": ["ok", "failed", "skipped", "dropped"]},
        "why": text(),
        "db_lost": number("Null if it was not scored.", nullable=True),
    }
) | {"description": "What one step from the weights to an engine did."}

_JOB_FILE = fields(
    {
        "index": _INTEGER,
        "name": text("As it was sent, without what could be a path."),
        "status": {"type": "string", "enum": ["queued", "running", "done", "failed"]},
        "model": {"type": ["string", "null"]},
        "bytes": {"type": ["integer", "null"], "description": "Of the restored file."},
        "error": {
            "anyOf": [fields({"code": text(), "message": text()}), {"type": "null"}],
        },
    }
)

_JOB = fields(
    {
        "id": text("A secret: who knows it, and has the key that submitted the job, can fetch its pictures."),
        "task": TASK,
        "status": {"type": "string", "enum": ["queued", "running", "done", "cancelled"]},
        "total": _INTEGER,
        "done": _INTEGER,
        "failed": _INTEGER,
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "created": {"type": "string", "format": "date-time"},
        "expires": {"type": "string", "format": "date-time"},
        "files": {"type": "array", "items": {"$ref": "#/components/schemas/JobFile"}},
    }
) | {"description": "`done` once every file is done or failed."}

SCHEMAS: dict[str, Schema] = {"Error": _ERROR, "Latency": _LATENCY, "Step": _STEP, "Job": _JOB, "JobFile": _JOB_FILE}
"""Name to schema, for `components`; those of the models are in `serving.openapi.model_schemas`."""
