"""What the service answered: from status, headers and bytes to typed values and named errors."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields
from typing import IO, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from millisight.client.errors import BrokenAnswerError, JobGoneError, RefusedError
from millisight.client.records import JobPicture, JobStatus, ModelInfo, OrderReport, Restored, Timing
from millisight.client.retry import retry_after_s

__all__ = [
    "check_zip",
    "read_job",
    "read_job_picture",
    "read_json",
    "read_models",
    "read_order",
    "read_restored",
    "read_timing",
    "refusal",
]

T = TypeVar("T")

_JOB_GONE = frozenset({"job_not_found", "job_gone"})
_METRIC = re.compile(r"([A-Za-z_]+)\s*;\s*dur\s*=\s*\"?([0-9]+(?:\.[0-9]*)?)\"?")
_SHOWN = 120


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> RefusedError:
    """The error that an answer other than success means.

    Args:
        status: HTTP status, not 2xx.
        headers: Of the answer; a mapping that does not care for case.
        body: Its beginning, if it is long.
    """
    after = retry_after_s(headers)
    request_id = headers.get("x-request-id", "")
    try:
        error = _ErrorAnswer.model_validate_json(body).error
    except ValidationError:
        return RefusedError(status, f"http_{status}", _foreign(status, headers, body), request_id, after)
    kind = JobGoneError if error.code in _JOB_GONE else RefusedError
    return kind(status, error.code, error.message, error.request_id or request_id, after)


def read_restored(headers: Mapping[str, str], data: bytes) -> Restored:
    """A restored picture.

    Raises:
        BrokenAnswerError: It is not a picture of this service.
    """
    media_type, model = _media_type(headers), headers.get("x-model", "")
    if not media_type.startswith("image/") or not model or not data:
        raise BrokenAnswerError(
            f"Expected a picture with the header X-Model, got {_described(headers, data)}. Is this the address of a "
            "millisight service, with nothing before it that answers in its place?"
        )
    return Restored(
        data=data,
        media_type=media_type,
        model=model,
        target=headers.get("x-target", ""),
        request_id=headers.get("x-request-id", ""),
        timing=read_timing(headers.get("server-timing", "")),
    )


def read_job_picture(index: int, headers: Mapping[str, str], data: bytes) -> JobPicture:
    """One restored picture of a job.

    Raises:
        BrokenAnswerError: It is none.
    """
    media_type = _media_type(headers)
    if not media_type.startswith("image/") or not data:
        raise BrokenAnswerError(f"Expected a restored picture, got {_described(headers, data)}.")
    return JobPicture(index, data, media_type)


def read_timing(header: str) -> Timing:
    """Milliseconds out of a Server-Timing header; names that are not ours are left out."""
    found = {name: float(value) for name, value in _METRIC.findall(header)}
    return Timing(**{field.name: found.get(field.name) for field in fields(Timing)})


def read_models(headers: Mapping[str, str], body: bytes) -> list[ModelInfo]:
    """What /v1/models lists, in order of choice.

    Raises:
        BrokenAnswerError: It is something else.
    """
    content = read_json(headers, body)
    return list(_parsed(TypeAdapter(tuple[ModelInfo, ...]), content.get("models"), headers, body))


def read_job(headers: Mapping[str, str], body: bytes) -> JobStatus:
    """A job as it stands.

    Raises:
        BrokenAnswerError: It is something else.
    """
    return _parsed(TypeAdapter(JobStatus), read_json(headers, body), headers, body)


def read_order(headers: Mapping[str, str], body: bytes) -> OrderReport:
    """What became of an administrator's order.

    Raises:
        BrokenAnswerError: It is something else.
    """
    return _parsed(TypeAdapter(OrderReport), read_json(headers, body), headers, body)


def read_json(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BrokenAnswerError: It is something else.
    """
    try:
        return TypeAdapter(dict[str, Any]).validate_json(body)
    except ValidationError as error:
        raise BrokenAnswerError(f"Expected a JSON object, got {_described(headers, body)}.") from error


def check_zip(file: IO[bytes]) -> None:
    """Read a job's result through once.

    Raises:
        BrokenAnswerError: It is no zip, cut short, or a file in it is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise BrokenAnswerError(f"The job's result is no whole zip ({error}). Fetch it again.") from error
    if damaged is not None:
        raise BrokenAnswerError(f"{damaged} in the job's result is damaged. Fetch it again.")


class _Error(BaseModel):
    code: str
    message: str
    request_id: str = ""


class _ErrorAnswer(BaseModel):
    error: _Error


def _parsed(adapter: TypeAdapter[T], content: object, headers: Mapping[str, str], body: bytes) -> T:
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        raise BrokenAnswerError(
            f"{where}: {first['msg']}, in {_described(headers, body)}. The service may be of another version than this "
            "client, or not millisight's at all."
        ) from error


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _foreign(status: int, headers: Mapping[str, str], body: bytes) -> str:
    if 300 <= status < 400:
        where = headers.get("location", "elsewhere")
        return f"The address redirects to {where!r}; redirects are not followed. Give that address as base_url."
    return (
        f"The answer is not the service's own but {_described(headers, body)}. Something before the service, such as a "
        "proxy, answered in its place, or the address is another server's."
    )


def _described(headers: Mapping[str, str], body: bytes) -> str:
    kind = headers.get("content-type", "") or "no Content-Type"
    if not body:
        return f"an empty body ({kind})"
    text = " ".join(body[:_SHOWN].decode("utf-8", "replace").split())
    return f"{kind} that begins {text!r}"
