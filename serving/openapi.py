"""/docs.json: what the routes take and give, as an OpenAPI 3.1 document built from the code that answers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from serving import errors
from serving.answers import REQUEST_ID
from serving.negotiation import FORMATS
from serving.options import SCALES, SUPER_RESOLUTION, TASKS
from serving.settings import Settings

PRODUCT = "millisight"
PATHS = (*(f"/v1/{task}" for task in TASKS), "/v1/models", "/livez", "/readyz", "/metrics", "/docs.json", "/")

_SUMMARIES = {
    "derain": "Remove rain from a picture",
    "denoise": "Remove noise from a picture",
    SUPER_RESOLUTION: "Enlarge a picture",
}

# Every class a restoration route can raise, grouped by status below; runtime's ImageError shares 400, 413, 415, 422.
_REFUSALS: tuple[type[errors.RequestError], ...] = (
    errors.UnknownOptionError,
    errors.EmptyImageError,
    errors.MissingImageError,
    errors.NotAFileError,
    errors.UnexpectedPartError,
    errors.BrokenFormError,
    errors.ModelNotFoundError,
    errors.MethodNotAllowedError,
    errors.NotAcceptableError,
    errors.ReadTimeoutError,
    errors.BodyTooLargeError,
    errors.ResultTooLargeError,
    errors.UnsupportedMediaTypeError,
    errors.BadValueError,
    errors.InternalError,
    errors.ModelOutputInvalidError,
    errors.NotReadyError,
    errors.DeadlineExceededError,
)


def product_version() -> str:
    """Version of the installed package; "0" in a checkout that is not installed."""
    try:
        return version(PRODUCT)
    except PackageNotFoundError:
        return "0"


def openapi_document(settings: Settings) -> dict[str, Any]:
    """Builds the document for a server with these limits."""
    paths: dict[str, Any] = {f"/v1/{task}": {"post": _restoration(task, settings)} for task in TASKS}
    models = {"$ref": "#/components/schemas/Models"}
    paths["/v1/models"] = {
        "get": _reading("listModels", "Loaded models, in order of choice", "application/json", models)
    }
    paths["/livez"] = {"get": _reading("isAlive", "200 while the process works", "text/plain")}
    ready = _reading("isReady", "200 once every model has been warmed up", "text/plain")
    ready["responses"]["503"] = {"description": "Not ready yet."}
    paths["/readyz"] = {"get": ready}
    paths["/metrics"] = {"get": _reading("readMetrics", "Prometheus metrics over all workers", "text/plain")}
    paths["/docs.json"] = {"get": _reading("readDocs", "This document", "application/json", {"type": "object"})}
    paths["/"] = {"get": _reading("readRoot", "Name, version and links", "application/json", {"type": "object"})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": PRODUCT,
            "version": product_version(),
            "description": "Restores pictures with networks built for a latency budget.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "Latency": _LATENCY, "Models": _MODELS, "Step": _STEP}},
    }


def _restoration(task: str, settings: Settings) -> dict[str, Any]:
    picture = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"image": picture}, "required": ["image"], "additionalProperties": False}
    parameters = [
        _query("model", {"type": "string"}, "Name of a loaded model; by default the first of /v1/models that fits."),
        {
            "name": REQUEST_ID,
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
            "description": "Repeated in the answer; made up when missing.",
        },
    ]
    if task == SUPER_RESOLUTION:
        parameters.append(
            _query("scale", {"type": "integer", "enum": list(SCALES)}, "By default that of the first model that fits.")
        )
    return {
        "operationId": task.replace("-", "_"),
        "summary": _SUMMARIES[task],
        "description": (
            f"At most {settings.max_body_bytes} bytes and {settings.max_pixels} pixels in, "
            f"{settings.max_output_pixels} pixels out. The file's own first bytes decide what it is, "
            "not its name or declared type. Addresses are never followed."
        ),
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": picture},
                "application/octet-stream": {"schema": picture},
            },
        },
        "responses": {"200": _picture_response(), **_refusals()},
    }


def _picture_response() -> dict[str, Any]:
    header = {"schema": {"type": "string"}}
    return {
        "description": "The restored picture, in the format Accept prefers (PNG by default).",
        "headers": {
            REQUEST_ID: header | {"description": "Id of this request."},
            "X-Model": header | {"description": "Name of the model that answered."},
            "Server-Timing": header | {"description": "Milliseconds in read, queue, decode, inference and encode."},
        },
        "content": {f"image/{name}": {"schema": {"type": "string", "format": "binary"}} for name in FORMATS},
    }


def _refusals() -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for refusal in _REFUSALS:
        by_status.setdefault(refusal.status, []).append(refusal.code)
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        str(status): {"description": f"Refused: {', '.join(codes)}.", "content": content}
        for status, codes in sorted(by_status.items())
    }


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _reading(name: str, summary: str, media_type: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {media_type: {"schema": schema or {"type": "string"}}}
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": summary, "content": content}}}


_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "request_id"],
            "properties": {name: {"type": "string"} for name in ("code", "message", "request_id")},
        }
    },
}
_LATENCY: dict[str, Any] = {
    "type": "object",
    "description": "What one picture of this size takes on one target.",
    "required": [
        "target", "device", "height", "width", "predicted_ms", "measured_ms", "budget_ms", "engine_version", "date",
    ],
    "properties": {
        "target": {"type": "string"},
        "device": {"type": "string"},
        "height": {"type": "integer"},
        "width": {"type": "integer"},
        "predicted_ms": {"type": "number"},
        "predicted_error_ms": {"type": ["number", "null"], "description": "Plus or minus; null if not known."},
        "measured_ms": {
            "type": ["number", "null"],
            "description": "Null if the network was not timed: its device was elsewhere when it was made.",
        },
        "spread": {"type": ["number", "null"], "description": "Of the measured runs; null if there were none."},
        "budget_ms": {"type": "number"},
        "engine_version": {"type": "string"},
        "date": {"type": "string", "format": "date"},
    },
}  # fmt: skip
_STEP: dict[str, Any] = {
    "type": "object",
    "description": "What one step from the weights to an engine did.",
    "required": ["name", "status", "why", "db_lost"],
    "properties": {
        "name": {"type": "string"},
        "status": {"type": "string", "enum": ["ok", "failed", "skipped", "dropped"]},
        "why": {"type": "string"},
        "db_lost": {"type": ["number", "null"], "description": "Null if it was not scored."},
    },
}
_MODELS: dict[str, Any] = {
    "type": "object",
    "required": ["models"],
    "properties": {
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "task", "scale", "target", "default"],
                "properties": {
                    "name": {"type": "string"},
                    "task": {"type": "string", "enum": list(TASKS)},
                    "scale": {"type": "integer"},
                    "target": {"type": "string"},
                    "target_reason": {"type": "string", "description": "Why it runs there."},
                    "default_target": {"type": "string", "description": "The fastest where the bundle was made."},
                    "default_reason": {"type": "string"},
                    "default": {"type": "boolean", "description": "Answers when no model is named."},
                    "speed": {"type": "array", "items": {"type": "object"}, "description": "Targets that were timed."},
                    "steps": {"type": "array", "items": {"$ref": "#/components/schemas/Step"}},
                    "latency": {"type": "array", "items": {"$ref": "#/components/schemas/Latency"}},
                    "quality": {"type": "array", "items": {"type": "object"}},
                },
            },
        }
    },
}
