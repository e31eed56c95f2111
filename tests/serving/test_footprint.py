"""What a pod is said to need, against the settings it follows from and, slowly, against what engines take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import Bundle, find_bundles
from runtime.target import Target
from serving.errors import SettingsError
from serving.footprint import engine_bytes, footprint
from serving.settings import Settings
from tests.servers import write_known_bundle

pytest.importorskip("openvino")
ZOO = Path(__file__).parents[2] / "zoo"

# Opens an engine for a slot, runs what a warm-up and pictures of other sizes run, and says what that took.
MEASURE = """
import sys, json
import numpy as np
from pathlib import Path
from runtime import Bundle, Target, open_engine
from runtime.requirements import import_onnxruntime
from runtime.requirements.openvino import import_openvino

def held(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key + ":")).split()[1]) * 1024

bundle, target = Bundle.load(sys.argv[1]), Target.parse(sys.argv[2])
import_onnxruntime(), import_openvino().Core().available_devices
before = held("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
engine = open_engine(bundle.read(bundle.model_path(target.precision).name), target)
size = bundle.manifest.size
for height, width in [size.tile] * 2 + [(size.tile[0] - size.multiple, size.tile[1] - 2 * size.multiple)] * 2:
    engine.run(np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32))
print(json.dumps(held("VmHWM") - before))
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_known_bundle(tmp_path_factory.mktemp("footprint") / "bundle", "tiny", "denoise")


def parts(bundle: Bundle, **settings: object) -> dict[str, int]:
    found = footprint([bundle], Settings.model_validate({"threads": 2, **settings}))
    assert found.memory_bytes == sum(share.bytes for share in found.memory)
    return {share.name: share.bytes for share in (*found.memory, *found.disk)}


def test_every_part_follows_from_what_it_is_named_after(tiny: Bundle) -> None:
    plain = parts(tiny)
    assert parts(tiny, slots=3)["tiny"] == 3 * plain["tiny"]
    assert parts(tiny, workers=2)["tiny"] == 2 * plain["tiny"]
    assert parts(tiny, body_bytes_total=2**30)["bodies"] == 2**30
    assert parts(tiny, picture_bytes=2**31)["pictures"] == 2**31
    # Two threads of codecs for the two cores of the pod, and one for short work.
    thread = parts(tiny, threads=3)["codecs"] - plain["codecs"]
    assert thread == 29 * 24_000_000
    assert parts(tiny, max_pixels=1_000_000)["codecs"] < plain["codecs"]
    assert (plain["jobs"], "jobs" in parts(tiny, jobs="off"), "jobs" in parts(tiny, jobs="redis://r")) == (
        Settings().job_disk_bytes, False, False,
    )  # fmt: skip


def test_a_picture_larger_than_all_the_room_goes_alone(tiny: Bundle) -> None:
    assert parts(tiny, picture_bytes=2**20)["pictures"] == (8 * 2 + 12) * 24_000_000


def test_cores_are_the_threads_of_all_slots(tiny: Bundle) -> None:
    assert footprint([tiny], Settings(workers=2, slots=3, threads=4)).cores == 24


def test_more_flows_through_larger_tiles(tmp_path: Path) -> None:
    settings = Settings(threads=1)
    sizes = [
        engine_bytes(write_known_bundle(tmp_path / str(tile), "a", "denoise", tile=tile), settings)
        for tile in (64, 128, 256)
    ]
    assert (sizes[2] - sizes[1]) == pytest.approx(4 * (sizes[1] - sizes[0]), rel=0.01)


def test_nothing_to_serve_and_unknown_cores_are_refused(tiny: Bundle) -> None:
    with pytest.raises(SettingsError, match="nothing to serve"):
        footprint([], Settings(threads=1))
    with pytest.raises(SettingsError, match="Name the threads"):
        footprint([tiny], Settings())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["cpu-onnxruntime-fp32", "cpu-onnxruntime-int8", "cpu-openvino-fp32", "cpu-openvino-int8"]
)
@pytest.mark.parametrize("bundle", find_bundles([ZOO]), ids=lambda bundle: bundle.folder.name)
def test_an_engine_takes_no_more_than_its_share(bundle: Bundle, kind: str) -> None:
    target = Target.parse(f"{kind}-2t")
    if target.missing() is not None:
        pytest.skip(f"{kind} is not available here")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, bundle.folder, target.slug], capture_output=True, text=True, check=True
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    allowed = engine_bytes(bundle, Settings(threads=2, target=target.slug))
    assert 0 < measured <= allowed, f"{measured >> 20} MiB of {allowed >> 20} MiB"
    # A bound without meaning would not be one: of the smallest network it is the most, for what an engine costs empty.
    assert allowed <= 4.5 * measured, f"{measured >> 20} MiB of {allowed >> 20} MiB"
