"""The real service with tiny bundles, for all tests of this room."""

from collections.abc import Iterator

import pytest

from tests.servers import Server, running_server, write_known_bundles


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    roots = write_known_bundles(tmp_path_factory.mktemp("bundles"))
    with running_server(tmp_path_factory.mktemp("service"), roots) as running:
        yield running
