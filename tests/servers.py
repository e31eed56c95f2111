"""Tiny bundles whose results are known exactly, and the real server on a free port."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from runtime.bundle import Bundle
from runtime.bundle_writer import write_bundle
from runtime.manifest import Manifest
from runtime.records import Lineage
from runtime.tiles import SizeContract

START_LIMIT_S = 60.0
REPOSITORY = Path(__file__).parents[1]


def known_network(scale: int, gain: float, precision: str = "fp32") -> bytes:
    """A network whose answer is `gain` times the input, every pixel repeated `scale` times on each axis."""
    weights = np.zeros((3 * scale * scale, 3, 3, 3), dtype=np.float32)
    for channel in range(3):
        weights[channel * scale**2 : (channel + 1) * scale**2, channel, 1, 1] = gain
    nodes, entry = [], "image"
    constants = [numpy_helper.from_array(weights, "weights")]
    if precision == "int8":
        entry = "seen"
        nodes.append(helper.make_node("QuantizeLinear", ["image", "step", "zero"], ["levels"]))
        nodes.append(helper.make_node("DequantizeLinear", ["levels", "step", "zero"], [entry]))
        constants.append(numpy_helper.from_array(np.float32(1 / 255), "step"))
        constants.append(numpy_helper.from_array(np.uint8(0), "zero"))
    nodes.append(helper.make_node("Conv", [entry, "weights"], ["wide"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("DepthToSpace", ["wide"], ["restored"], blocksize=scale, mode="CRD"))
    graph = helper.make_graph(
        nodes,
        "known",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("restored", TensorProto.FLOAT, ["n", 3, "sh", "sw"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_known_bundle(
    folder: Path,
    name: str,
    task: str,
    *,
    scale: int = 1,
    gain: float = 1.0,
    tile: int = 64,
    model: bytes | None = None,
    **fields: Any,
) -> Bundle:
    lineage = dict.fromkeys(("genotype", "table", "weights", "onnx", "config"), "0" * 64) | {"code_version": "test"}
    content = {
        "name": name,
        "task": task,
        "scale": scale,
        "size": SizeContract(multiple=1, minimum=1, tile=(tile, tile), overlap=min(8, tile // 2), scale=scale),
        "receptive_field": 3,
        "lineage": Lineage.model_validate(lineage),
        "method": "by hand",
        "parameters": 81 * scale * scale,
        "created": "2026-01-01T00:00:00Z",
    }
    manifest = Manifest.model_validate(content | fields)
    graphs = {file: model or known_network(scale, gain, precision) for precision, file in manifest.models.items()}
    return write_bundle(folder, manifest, graphs)


def write_known_bundles(root: Path) -> tuple[Path, Path]:
    """`runs`: one denoiser that halves. `zoo`: one bundle a task and scale, that change nothing."""
    runs, zoo = root / "runs", root / "zoo"
    write_known_bundle(runs / "first" / "bundle", "denoise-half", "denoise", gain=0.5)
    write_known_bundle(zoo / "derain", "derain-same", "derain")
    write_known_bundle(zoo / "denoise", "denoise-same", "denoise")
    write_known_bundle(zoo / "sr2", "sr-x2", "super-resolution", scale=2)
    write_known_bundle(zoo / "sr4", "sr-x4", "super-resolution", scale=4)
    return runs, zoo


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(
    folder: Path,
    roots: tuple[Path, ...],
    *,
    workers: int = 1,
    service: str = "serving.service:RestorationService",
    cwd: Path = REPOSITORY,
    **settings: str,
) -> Iterator[Server]:
    """Starts `bentoml serve` as a user does, waits until it is ready, and stops it as a container runtime does."""
    port = free_port()
    log = folder / "server.log"
    environment = os.environ | {
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "MILLISIGHT_WORKERS": str(workers),
        "MILLISIGHT_TARGET": "cpu-onnxruntime-fp32-1t",
        **({"MILLISIGHT_BUNDLES": os.pathsep.join(map(str, roots))} if roots else {}),
        **settings,
    }
    command = [sys.executable, "-m", "bentoml", "serve", service]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT)
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            # pytest shows it when the test that used the server fails.
            sys.stdout.write(log.read_text(errors="replace"))


def _wait_until_ready(server: Server) -> None:
    limit = time.monotonic() + START_LIMIT_S
    with server.client() as client:
        while time.monotonic() < limit:
            if server.process.poll() is not None:
                break
            try:
                if client.get("/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise AssertionError(f"The server is not ready:\n{server.log.read_text(errors='replace')}")


def picture_file(pixels: NDArray[np.uint8], picture_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, picture_format, **options)
    return buffer.getvalue()
