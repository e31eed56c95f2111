"""Both clients behind one face, so that every test holds for both; and a server that speaks the contract."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from millisight.client import AsyncClient, Client, RetryPolicy

QUICK = RetryPolicy(attempts=4, total_s=20, base_s=0.01, cap_s=0.05)


class Talker:
    """Calls methods of a client (`do`) or of one of its jobs (`job`) by name, as the one or the other client."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def do(self, url: str, method: str, *arguments: Any, **options: Any) -> Any:
        return self._call(url, lambda client: getattr(client, method)(*arguments, **options), {})

    def job(self, url: str, id_: str, method: str, *arguments: Any, **options: Any) -> Any:
        return self._call(url, lambda client: getattr(client.job(id_), method)(*arguments, **options), {})

    def do_as(self, settings: dict[str, Any], url: str, method: str, *arguments: Any, **options: Any) -> Any:
        return self._call(url, lambda client: getattr(client, method)(*arguments, **options), settings)

    def _call(self, url: str, call: Any, settings: dict[str, Any]) -> Any:
        settings = {"retry": QUICK, "trust_env": False} | settings
        if self.kind == "async":
            return asyncio.run(self._await(url, call, settings))
        with Client(url, **settings) as client:
            result = call(client)
            return list(result) if inspect.isgenerator(result) else result

    async def _await(self, url: str, call: Any, settings: dict[str, Any]) -> Any:
        async with AsyncClient(url, **settings) as client:
            result = call(client)
            if inspect.isasyncgen(result):
                return [entry async for entry in result]
            return await result


@pytest.fixture(params=["sync", "async"])
def talk(request: pytest.FixtureRequest) -> Talker:
    return Talker(request.param)
