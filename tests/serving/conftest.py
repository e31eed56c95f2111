"""Tiny bundles whose results are known exactly, and the real server on a free port (see tests/servers.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.bundle import Bundle
from tests.servers import (
    REPOSITORY,
    START_LIMIT_S,
    Server,
    known_network,
    picture_file,
    running_server,
    write_known_bundle,
    write_known_bundles,
)

__all__ = [
    "REPOSITORY",
    "START_LIMIT_S",
    "Server",
    "known_network",
    "picture_file",
    "running_server",
    "write_known_bundle",
]


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    return write_known_bundle


@pytest.fixture(scope="session")
def bundle_roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """`runs`: one denoiser that halves. `zoo`: one bundle a task and scale, that change nothing."""
    return write_known_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def start_server() -> Callable[..., object]:
    return running_server


@pytest.fixture(scope="session")
def server(bundle_roots: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {
        "MILLISIGHT_MAX_BODY_BYTES": str(2**20),
        "MILLISIGHT_MAX_PIXELS": "1000000",
        "MILLISIGHT_MAX_OUTPUT_PIXELS": "1000000",
        "MILLISIGHT_READ_TIMEOUT": "1",
    }
    with running_server(tmp_path_factory.mktemp("server"), bundle_roots, **limits) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def pack() -> Callable[..., bytes]:
    return picture_file


@pytest.fixture(scope="session")
def pixels() -> NDArray[np.uint8]:
    """A small colour picture, sides no multiple of anything."""
    return np.random.default_rng(7).integers(0, 256, (37, 53, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def png(pixels: NDArray[np.uint8]) -> bytes:
    return picture_file(pixels)
