"""A typed client of the service, synchronous and asynchronous. Needs httpx and pydantic, and no other room of ours.

Begin with `Client` or `AsyncClient`; docs/client.md has examples.
"""

from millisight.client.aio import AsyncClient, AsyncJob
from millisight.client.bodies import Source
from millisight.client.calls import Format, Metadata, Named, Task
from millisight.client.errors import (
    BrokenAnswerError,
    InvalidCallError,
    JobGoneError,
    MillisightClientError,
    OverloadedError,
    RefusedError,
    TimedOutError,
    UnreachableError,
)
from millisight.client.records import (
    JobFile,
    JobPicture,
    JobStatus,
    Latency,
    ModelInfo,
    OrderReport,
    Problem,
    Quality,
    Restored,
    Speed,
    Step,
    Timing,
    WorkerReport,
)
from millisight.client.retry import RetryPolicy
from millisight.client.sync import Client, Job

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "BrokenAnswerError",
    "Client",
    "Format",
    "InvalidCallError",
    "Job",
    "JobFile",
    "JobGoneError",
    "JobPicture",
    "JobStatus",
    "Latency",
    "Metadata",
    "MillisightClientError",
    "ModelInfo",
    "Named",
    "OrderReport",
    "OverloadedError",
    "Problem",
    "Quality",
    "RefusedError",
    "Restored",
    "RetryPolicy",
    "Source",
    "Speed",
    "Step",
    "Task",
    "TimedOutError",
    "Timing",
    "UnreachableError",
    "WorkerReport",
]
