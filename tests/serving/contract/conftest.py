"""The servers of the contract.

The rows are those of the table of required results; a test carries its number in its name and as `@pytest.mark.row(n)`.
Every test runs against a server of one worker and one of two; with two, tests outside the core are slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from serving.guard.keys import ApiKey, write_keys
from tests.servers import Server, running_server, write_known_bundle
from tests.serving.contract.networks import dawdling_network, infinite_network, nan_network
from tests.serving.contract.wire import client_of

HERE = Path(__file__).parent

LIMITS = {
    "MILLISIGHT_MAX_BODY_BYTES": str(2**20),
    "MILLISIGHT_MAX_PIXELS": "1000000",
    "MILLISIGHT_MAX_OUTPUT_PIXELS": "1000000",
    "MILLISIGHT_READ_TIMEOUT": "1",
}
ORIGIN = "https://friend.example"
# Few places, and little time where a request names no deadline.
STRAIN = {
    "MILLISIGHT_QUEUE": "3",
    "MILLISIGHT_SLOTS": "1",
    "MILLISIGHT_REQUEST_TIMEOUT": "3",
    "MILLISIGHT_CORS_ORIGINS": ORIGIN,
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "row(*numbers): rows of the input contract that the test proves")
    config.addinivalue_line("markers", "core: run with two workers even where slow tests are left out")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not item.path.is_relative_to(HERE) or not isinstance(item, pytest.Function):
            continue
        workers = item.callspec.params.get("workers", 1) if hasattr(item, "callspec") else 1
        if workers > 1 and item.get_closest_marker("core") is None:
            item.add_marker(pytest.mark.slow)


@dataclass
class Servers:
    """Servers by kind and number of workers, started when first asked for and kept until the session ends."""

    folders: pytest.TempPathFactory
    stack: ExitStack = field(default_factory=ExitStack)
    running: dict[tuple[str, int], Server] = field(default_factory=dict)

    def get(self, kind: str, workers: int, roots: tuple[Path, ...], **settings: str) -> Server:
        """The server of this kind; bundles and settings are those of the first call."""
        if (kind, workers) not in self.running:
            folder = self.folders.mktemp(f"{kind}-{workers}")
            server = self.stack.enter_context(running_server(folder, roots, workers=workers, **settings))
            self.running[kind, workers] = server
        return self.running[kind, workers]


def moody_bundles(folder: Path) -> tuple[Path, ...]:
    """A dawdling network for every test that needs one, so that none learns of another's delays."""
    write_known_bundle(folder / "quick", "quick", "denoise")
    for name in ("deadline", "asked", "gone", "crowd"):
        write_known_bundle(folder / name, f"dawdle-{name}", "derain", tile=32, model=dawdling_network())
    write_known_bundle(folder / "nan", "nan", "denoise", model=nan_network())
    write_known_bundle(folder / "infinite", "infinite", "denoise", model=infinite_network())
    return (folder,)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    running = Servers(tmp_path_factory)
    with running.stack:
        yield running


@pytest.fixture(params=[1, 2], ids=["1-worker", "2-workers"])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def service(workers: int, servers: Servers, bundle_roots: tuple[Path, Path], request: pytest.FixtureRequest) -> Server:
    """A server with small limits; the one of a single worker is shared with the other tests of the room."""
    if workers == 1:
        return request.getfixturevalue("server")
    return servers.get("plain", workers, bundle_roots, **LIMITS)


@pytest.fixture
def client(service: Server) -> Iterator[httpx.Client]:
    with client_of(service) as client:
        yield client


@pytest.fixture(scope="session")
def moody_roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return moody_bundles(tmp_path_factory.mktemp("moody"))


@pytest.fixture
def strained(workers: int, servers: Servers, moody_roots: tuple[Path, ...]) -> Server:
    """A server with one slot, three places and networks that take long, or fail, for white pictures."""
    return servers.get("strained", workers, moody_roots, **STRAIN)


@pytest.fixture
def keyed(
    workers: int, servers: Servers, bundle_roots: tuple[Path, Path], api_keys: list[ApiKey], tmp_path: Path
) -> Server:
    """A server that asks for one of the `api_keys` that the module defines."""
    file = tmp_path / "keys.json"
    write_keys(file, api_keys)
    return servers.get("keyed", workers, bundle_roots, MILLISIGHT_API_KEYS=str(file))
