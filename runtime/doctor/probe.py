"""The child that `runtime.doctor.child` starts: imports and asks what might end a process, and answers in JSON.

`python -P probe.py backend NAME`: is an engine usable, and what does it say of itself?
`python -P probe.py driver`: does the NVIDIA driver answer?
"""

import ctypes
import importlib
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from runtime import cuda_probe
from runtime.cuda import cuda_status
from runtime.doctor.module_probe import answer_alone, module_state
from runtime.doctor.packages import ENGINE_PACKAGES
from runtime.requirements import REQUIREMENTS

__all__: list[str] = []

_CUDA_LIBRARY = "libcuda.so.1"


def _backend(name: str) -> dict[str, Any]:
    states = {package.module: module_state(package.module, package.attribute) for package in ENGINE_PACKAGES[name]}
    missing = REQUIREMENTS[name]()
    broken = [module for module, found in states.items() if found["state"] == "broken"]
    status = cuda_status() if name.startswith("cuda-") else None
    answer: dict[str, Any] = {
        "state": "broken" if broken else "ok" if missing is None else "missing",
        "broken": broken,
        "what": missing.what if missing else "",
        "remedy": missing.remedy if missing else "",
        "device": status.device if status else "",
        "driver": status.driver if status else "",
        "facts": [],
    }
    device, engine = name.split("-")
    if engine not in _FACTS or states[ENGINE_PACKAGES[name][0].module]["state"] != "ok":
        return answer
    return answer | _FACTS[engine](device, missing is None)


def _onnxruntime(device: str, usable: bool) -> dict[str, Any]:
    module = importlib.import_module("onnxruntime")
    # What the wheel was built with says nothing about this machine: CUDA is listed where there is no GPU.
    built = [provider.removesuffix("ExecutionProvider") for provider in module.get_available_providers()]
    used = {"cpu": "CPU", "cuda": "CUDA"}[device]
    return {"facts": [f"Built with {', '.join(built)}; {used} is {'usable' if usable else 'not usable'} here"]}


def _openvino(device: str, _usable: bool) -> dict[str, Any]:
    core = importlib.import_module("openvino").Core()
    kind = {"cpu": "CPU", "intelgpu": "GPU"}[device]
    own = [name for name in core.available_devices if name.split(".")[0] == kind]
    if not own:
        return {}
    capabilities = {name: ", ".join(core.get_property(name, "OPTIMIZATION_CAPABILITIES")) for name in own}
    return {
        "device": str(core.get_property(own[0], "FULL_DEVICE_NAME")),
        "facts": [f"OpenVINO lists for {name}: {text}" for name, text in capabilities.items()],
    }


def _tensorrt(_device: str, usable: bool) -> dict[str, Any]:
    # Its objects end a process that has no driver: not one is made here.
    return {"facts": ["Engines are built and run on this machine's GPU"] if usable else []}


def _tensorrtrtx(_device: str, usable: bool) -> dict[str, Any]:
    rtx = importlib.import_module("tensorrt_rtx")
    built = rtx.Builder(rtx.Logger(rtx.Logger.ERROR)) is not None
    if not built:
        return {"facts": ["No engine can be built here"]}
    return {"facts": [f"Engines can be built here, without a GPU, and {'run' if usable else 'cannot run'}"]}


_FACTS: Mapping[str, Callable[[str, bool], dict[str, Any]]] = MappingProxyType(
    {"onnxruntime": _onnxruntime, "openvino": _openvino, "tensorrt": _tensorrt, "tensorrtrtx": _tensorrtrtx}
)
"""Engine to what it says of itself once its package is sound: of a device, and of whether it is usable there."""


def _driver() -> dict[str, Any]:
    try:
        ctypes.CDLL(_CUDA_LIBRARY)
    except OSError as error:
        return {
            "loads": False,
            "absent": _CUDA_LIBRARY in str(error) and "No such file" in str(error),
            "missing": str(error),
        }
    return {"loads": True, **cuda_probe.probe(_CUDA_LIBRARY)}


def _main(topic: str, *arguments: str) -> dict[str, Any]:
    topics: dict[str, Callable[..., dict[str, Any]]] = {"backend": _backend, "driver": _driver}
    return topics[topic](*arguments)


if __name__ == "__main__":
    answer_alone(_main, sys.argv[1:])
