"""/docs.json against the running server, asked by schemathesis: what is documented is what is answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, running_server
from tests.serving.contract.wire import client_of

HERE = Path(__file__).parent
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, bundle_roots: tuple[Path, Path]) -> Iterator[Server]:
    """A server of its own: jobs are made and cancelled."""
    with running_server(tmp_path_factory.mktemp("target"), bundle_roots, MILLISIGHT_MAX_PIXELS="1000000") as server:
        yield server


def ask_everything(document: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs schemathesis over an OpenAPI document against a server; 0 if every answer conforms."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "--no-color"]
    command += ["--config-file", str(HERE / "schemathesis.toml"), "run", document, "--url", url]
    command += ["--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS), "--continue-on-failure"]
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


def test_every_answer_is_as_documented(target: Server, tmp_path: Path) -> None:
    result = ask_everything(f"{target.url}/docs.json", target.url, tmp_path)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    # Restoration was really asked, not only skipped.
    assert "POST" in target.log.read_text()


@pytest.mark.slow
def test_an_undocumented_answer_would_be_seen(target: Server, tmp_path: Path) -> None:
    """The planted fault: a document without the refusals, and with another form of error."""
    with client_of(target) as client:
        document = client.get("/docs.json").json()
    only = document["paths"]["/v1/derain"]
    only["post"]["responses"] = {"200": only["post"]["responses"]["200"]}
    document["paths"] = {"/v1/derain": only}
    file = tmp_path / "docs.json"
    file.write_text(json.dumps(document))
    result = ask_everything(str(file), target.url, tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Undocumented status code" in result.stdout
