"""The document: paths, parameters and answers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from runtime.image import LOSSY_FORMATS
from serving.jobs import PATHS as JOB_PATHS
from serving.models.routes import ADMIN_PATHS
from serving.models.routes import PATHS as MODEL_PATHS
from serving.negotiation import FORMATS
from serving.openapi.model_schemas import MODEL_SCHEMAS
from serving.openapi.parts import (
    REQUEST_ID_PARAMETER,
    Part,
    errors_of,
    header,
    header_parameter,
    json_answer,
    path_parameter,
    query,
    reading,
)
from serving.openapi.schemas import SCHEMAS
from serving.options import (
    DEADLINE_HEADER,
    LONGEST_DEADLINE_MS,
    METADATA,
    SCALES,
    SUPER_RESOLUTION,
    TASKS,
)
from serving.settings import Settings

PRODUCT = "millisight"
RESTORATION_PATHS = tuple(f"/v1/{task}" for task in TASKS)
OTHER_PATHS = ("/livez", "/readyz", "/metrics", "/docs.json", "/")
PATHS = (*RESTORATION_PATHS, *MODEL_PATHS, *ADMIN_PATHS, *JOB_PATHS, *OTHER_PATHS)

_SUMMARIES = {
    "derain": "Remove rain from a picture",
    "denoise": "Remove noise from a picture",
    SUPER_RESOLUTION: "Enlarge a picture",
}
_PICTURE: Part = {"type": "string", "format": "binary"}


def product_version() -> str:
    """Version of the installed package; "0" in a checkout that is not installed."""
    try:
        return version(PRODUCT)
    except PackageNotFoundError:
        return "0"


def openapi_document(settings: Settings) -> Part:
    """Builds the document for a server with these settings."""
    paths = {f"/v1/{task}": {"post": _restoration(task, settings)} for task in TASKS} | _models()
    if settings.jobs != "off":
        paths |= _jobs(settings)
    ready = reading("isReady", "200 once every model has been warmed up", "text/plain")
    ready["responses"]["503"] = {"description": "Not ready yet."}
    paths |= {
        "/livez": {"get": reading("isAlive", "200 while the process works", "text/plain")},
        "/readyz": {"get": ready},
        "/metrics": {"get": reading("readMetrics", "Prometheus metrics over all workers", "text/plain")},
        "/docs.json": {"get": reading("readDocs", "This document", "application/json", {"type": "object"})},
        "/": {"get": reading("readRoot", "Name, version and links", "application/json", {"type": "object"})},
    }
    document: Part = {
        "openapi": "3.1.0",
        "info": {
            "title": PRODUCT,
            "version": product_version(),
            "description": "Restores pictures with networks built for a latency budget.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS | MODEL_SCHEMAS},
    }
    if settings.api_keys is not None:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for path, operations in paths.items():
            for operation in operations.values() if path not in OTHER_PATHS else ():
                operation["security"] = [{"bearer": []}, {"key": []}]
    return document


def _restoration(task: str, settings: Settings) -> Part:
    form = {"type": "object", "properties": {"image": _PICTURE}, "required": ["image"], "additionalProperties": False}
    return {
        "operationId": task.replace("-", "_"),
        "summary": _SUMMARIES[task],
        "description": (
            f"At most {settings.max_body_bytes} bytes and {settings.max_pixels} pixels in, "
            f"{settings.max_output_pixels} pixels out. The file's own first bytes decide what it is, "
            "not its name or declared type. Addresses are never followed."
        ),
        "parameters": [
            *_options(task == SUPER_RESOLUTION),
            header_parameter(
                DEADLINE_HEADER,
                {"type": "integer", "minimum": 1, "maximum": LONGEST_DEADLINE_MS},
                f"Milliseconds from the arrival of the request to its answer; {settings.request_timeout:g} s by "
                "default. What cannot be answered in time is refused at once.",
            ),
            REQUEST_ID_PARAMETER,
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": _PICTURE},
                "application/octet-stream": {"schema": _PICTURE},
            },
        },
        "responses": {"200": _picture_answer(), **errors_of("restoration")},
    }


def _options(scaled: bool) -> list[Part]:
    lossy = " and ".join(LOSSY_FORMATS)
    found = [
        query(
            "model",
            {"type": "string", "minLength": 1},
            "Name of a loaded model, or fast, balanced or best of its family. By default the best of the first family "
            "that fits which meets the deadline.",
        ),
        query("format", {"type": "string", "enum": list(FORMATS)}, "Of the answer; wins over Accept."),
        query("quality", {"type": "integer", "minimum": 1, "maximum": 100}, f"For {lossy}."),
        query("metadata", {"type": "string", "enum": list(METADATA)}, "keep: the EXIF block is repeated."),
    ]
    if scaled:
        found.append(
            query("scale", {"type": "integer", "enum": list(SCALES)}, "By default that of the first model that fits.")
        )
    return found


def _picture_answer() -> Part:
    return {
        "description": "The restored picture, in the format that was asked for (PNG by default).",
        "headers": {
            "X-Request-Id": header("Id of this request."),
            "X-Model": header("Name of the model that answered."),
            "X-Target": header("Where it ran."),
            "Server-Timing": header(
                "Milliseconds in read, queue, decode, inference and encode, and what was predicted for the whole."
            ),
        },
        "content": {f"image/{name}": {"schema": _PICTURE} for name in FORMATS},
    }


def _models() -> Part:
    name = path_parameter("name", {"type": "string"}, "Of a bundle.")
    changed = {"$ref": "#/components/schemas/ModelChange"}

    def change(operation: str, summary: str, *parameters: Part) -> Part:
        answers = {
            "200": json_answer(summary, changed),
            "202": json_answer("Some workers are still at it", changed),
            **errors_of("models", only=(401, 403, 404, 409, 429)),
        }
        return {
            "post": {"operationId": operation, "summary": summary, "parameters": [*parameters], "responses": answers}
        }

    models, model = ({"$ref": f"#/components/schemas/{kind}"} for kind in ("Models", "Model"))
    one = reading("readModel", "One model", "application/json", model)
    one["parameters"] = [name]
    one["responses"] |= errors_of("models", only=(401, 403, 404, 429))
    all_of_them = reading("listModels", "Loaded models, in order of choice", "application/json", models)
    all_of_them["responses"] |= errors_of("models", only=(401, 403, 429))
    return {
        "/v1/models": {"get": all_of_them},
        "/v1/models/{name}": {"get": one},
        "/v1/models/reload": change("reloadModels", "Look for new, changed and vanished bundles (admin)"),
        "/v1/models/{name}/load": change("loadModel", "Serve a model again that was unloaded (admin)", name),
        "/v1/models/{name}/unload": change("unloadModel", "Serve a model no more (admin)", name),
    }


def _jobs(settings: Settings) -> Part:
    job = {"$ref": "#/components/schemas/Job"}
    form = {
        "type": "object",
        "properties": {
            "image": {"type": "array", "items": _PICTURE, "minItems": 1, "maxItems": settings.job_max_files}
        },
        "required": ["image"],
        "additionalProperties": False,
    }
    submitted = json_answer("Accepted; follow `Location`", job)
    submitted["headers"] = {"Location": header("Where the job is.")}
    job_id = path_parameter("id", {"type": "string", "minLength": 1}, "As submission gave it.")
    index = path_parameter("index", {"type": "integer", "minimum": 0}, "Of the file in the job.")

    def about(operation: str, summary: str, answer: Part, *parameters: Part) -> Part:
        answers = {"200": answer, **errors_of("jobs", only=(401, 403, 404, 409, 410, 422, 429))}
        return {
            "operationId": operation,
            "summary": summary,
            "parameters": [job_id, *parameters],
            "responses": answers,
        }

    def stream(media_type: str, description: str) -> Part:
        return {"description": description, "content": {media_type: {"schema": _PICTURE}}}

    task = query("task", {"type": "string", "enum": list(TASKS)}, "What to do with every picture.") | {"required": True}
    events = stream("text/event-stream", "Events `progress` with the job whenever it changes, then `end`")
    pictures = {"description": "The picture", "content": {f"image/{name}": {"schema": _PICTURE} for name in FORMATS}}
    return {
        "/v1/jobs": {
            "post": {
                "operationId": "submitJob",
                "summary": "Restore many pictures in the background",
                "description": (
                    f"At most {settings.job_max_files} files of {settings.max_body_bytes} bytes each and "
                    f"{settings.job_max_bytes} bytes in all."
                ),
                "parameters": [task, *_options(True), REQUEST_ID_PARAMETER],
                "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
                "responses": {"202": submitted, **errors_of("jobs")},
            }
        },
        "/v1/jobs/{id}": {
            "get": about("readJob", "How far a job is", json_answer("The job", job)),
            "delete": about("deleteJob", "Cancel a job and delete its files", json_answer("The job as it was", job)),
        },
        "/v1/jobs/{id}/events": {"get": about("followJob", "Progress as server-sent events", events)},
        "/v1/jobs/{id}/result": {
            "get": about("fetchJob", "All restored pictures", stream("application/zip", "A zip file"))
        },
        "/v1/jobs/{id}/files/{index}": {"get": about("fetchJobFile", "One restored picture", pictures, index)},
    }
