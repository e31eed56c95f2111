"""The real service with tiny bundles, and a small one that speaks its contract, for all tests of this room."""

from collections.abc import Iterator

import pytest

from tests.millisight.client.contract import Contract, contract_server
from tests.servers import Server, running_server, write_known_bundles


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    roots = write_known_bundles(tmp_path_factory.mktemp("bundles"))
    with running_server(tmp_path_factory.mktemp("service"), roots) as running:
        yield running


@pytest.fixture(scope="session")
def started() -> Iterator[Contract]:
    with contract_server() as server:
        yield server


@pytest.fixture
def contract(started: Contract) -> Contract:
    started.forget()
    return started
