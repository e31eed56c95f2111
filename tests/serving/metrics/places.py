"""Bundles with promises and budgets, and a service over them in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from runtime.records import LatencyRecord
from serving.app import create_app
from serving.settings import Settings
from serving.workplace import Workplace
from tests.servers import picture_file, write_known_bundle
from tests.serving.metrics.reading import Scrape

TARGET = "cpu-onnxruntime-fp32-1t"
SIDE = 64
PROMISED_MS = 10.0


def latency(budget_ms: float, *, target: str = TARGET, side: int = SIDE, ms: float = PROMISED_MS) -> LatencyRecord:
    return LatencyRecord(
        target=target, device="made up", height=side, width=side, predicted_ms=ms, measured_ms=ms, spread=0.0,
        budget_ms=budget_ms, engine_version="1", date="2026-01-01",
    )  # fmt: skip


def write_promised_bundle(folder: Path, name: str, budget_ms: float, **fields: Any) -> None:
    """A denoiser of tiles of `SIDE` that promises `PROMISED_MS` for each."""
    write_known_bundle(folder, name, "denoise", tile=SIDE, latency=(latency(budget_ms),), **fields)


def opened(state: Path, *roots: Path, **fields: Any) -> Workplace:
    """A warm service."""
    place = Workplace.open(Settings(bundles=roots, target=TARGET, state=state, **fields))
    place.warm_up()
    return place


def ask(place: Workplace, method: str, path: str, **options: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(place), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def restore(place: Workplace, height: int = SIDE, width: int = SIDE, level: int = 100, model: str = "") -> int:
    """Sends a picture of one colour; returns the status."""
    picture = picture_file(np.full((height, width, 3), level, dtype=np.uint8))
    query = f"?model={model}" if model else ""
    return ask(place, "POST", f"/v1/denoise{query}", files={"image": picture}).status_code


def seen(place: Workplace) -> Scrape:
    return Scrape(place.metrics.render()[0].decode())
