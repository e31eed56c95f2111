from typing import Any

import pytest

from runtime.errors import TargetError
from runtime.requirements import find_version, installed_version
from runtime.requirements.tensorrt import import_tensorrt, unsupported_capability


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")


def test_the_module_follows_from_the_engine(trt: Any) -> None:
    assert import_tensorrt("tensorrtrtx") is trt


def test_a_gpu_that_tensorrt_rtx_does_not_know_is_named(trt: Any) -> None:
    assert unsupported_capability(trt, "8.6") is None
    missing = unsupported_capability(trt, "9.0")
    assert missing is not None
    assert "no engines for compute capability 9.0, only for 7.5, 8.0, 8.6" in missing.what
    assert "cuda-tensorrt" in missing.remedy


def test_the_installed_version_is_known_without_a_gpu(trt: Any) -> None:
    assert (
        installed_version("cuda-tensorrtrtx") == find_version("cuda-tensorrtrtx") == f"tensorrt-rtx {trt.__version__}"
    )


def test_an_engine_that_is_not_installed_has_no_version() -> None:
    if find_version("cuda-tensorrt") is not None:
        pytest.skip("tensorrt is installed here")
    with pytest.raises(TargetError, match=r"tensorrt cannot be imported .*pip install '\.\[tensorrt\]'"):
        installed_version("cuda-tensorrt")
