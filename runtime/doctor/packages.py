"""Python packages that engines, export and serving need, and two that must not be installed together."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from runtime.doctor.child import SECONDS, ask_child
from runtime.doctor.finding import Finding, Section
from runtime.host import package_versions, usable_cores
from runtime.requirements import DISTRIBUTIONS

__all__ = [
    "ENGINE_PACKAGES",
    "TOOLS",
    "Package",
    "look_at_package",
    "look_at_tools",
    "look_for_clash",
    "package_remedy",
]


@dataclass(frozen=True)
class Package:
    """A package that millisight may use.

    Attributes:
        module: What is imported.
        attribute: Something the module has if it is sound.
        distributions: What pip may have installed it from.
        install: What pip installs it with.
        use: What it is good for.
    """

    module: str
    attribute: str
    distributions: tuple[str, ...]
    install: str
    use: str = ""


_ONNXRUNTIME = tuple(dict.fromkeys((*DISTRIBUTIONS["cpu-onnxruntime"], *DISTRIBUTIONS["cuda-onnxruntime"])))
_CUDA_PYTHON = Package("cuda.bindings.runtime", "cudaMalloc", ("cuda-bindings", "cuda-python"), "'cuda-python>=12.8'")

ENGINE_PACKAGES: Mapping[str, tuple[Package, ...]] = MappingProxyType(
    {
        "cpu-onnxruntime": (Package("onnxruntime", "InferenceSession", _ONNXRUNTIME, "'.[cpu]'"),),
        "cpu-openvino": (Package("openvino", "Core", DISTRIBUTIONS["cpu-openvino"], "'.[openvino]'"),),
        "intelgpu-openvino": (Package("openvino", "Core", DISTRIBUTIONS["intelgpu-openvino"], "'.[openvino]'"),),
        "cuda-onnxruntime": (Package("onnxruntime", "InferenceSession", _ONNXRUNTIME, "'.[gpu]'"),),
        "cuda-tensorrt": (
            Package("tensorrt", "Builder", DISTRIBUTIONS["cuda-tensorrt"], "'.[tensorrt]'"),
            _CUDA_PYTHON,
        ),
        "cuda-tensorrtrtx": (
            Package("tensorrt_rtx", "Builder", DISTRIBUTIONS["cuda-tensorrtrtx"], "'.[tensorrt-rtx]'"),
            _CUDA_PYTHON,
        ),
    }
)
"""Backend to the packages it imports. A new engine is a line here too."""

TOOLS: Mapping[str, Package] = MappingProxyType(
    {
        "nvidia-ml-py": Package("pynvml", "nvmlInit", ("nvidia-ml-py",), "nvidia-ml-py", "clocks beside GPU timings"),
        "torch": Package("torch", "nn", ("torch",), "'.[search]'", "search, training and export"),
        "onnx": Package("onnx", "checker", ("onnx",), "'.[export]'", "graphs of every precision"),
        "onnxslim": Package("onnxslim", "slim", ("onnxslim",), "'.[export]'", "simpler graphs"),
        "scikit-image": Package("skimage", "data", ("scikit-image",), "'.[search]'", "the embedded photographs"),
        "bentoml": Package("bentoml", "service", ("bentoml",), "'.[serve]'", "the service"),
    }
)
"""Distribution to a package that is no engine."""


def look_at_tools(seconds: float = SECONDS) -> Section:
    """Look at every package that is no engine."""
    with ThreadPoolExecutor(usable_cores()) as threads:
        return Section(title="tools", findings=tuple(threads.map(lambda name: look_at_package(name, seconds), TOOLS)))


def look_at_package(name: str, seconds: float = SECONDS) -> Finding:
    """Import one of `TOOLS` in a child: missing is no fault, installed and not usable is one."""
    tool = TOOLS[name]
    answer = ask_child("module_probe", tool.module, tool.attribute, seconds=seconds)
    if isinstance(answer, str):
        answer = {"state": "broken", "detail": f"Importing the package {tool.module} {answer}"}
    if answer["state"] == "ok":
        version = package_versions((name,)).get(name, "of an unknown version")
        return Finding(subject=name, state="ok", detail=f"{version}, for {tool.use}")
    detail = f"{answer['detail']}; it is needed for {tool.use}"
    return Finding(subject=name, state=answer["state"], detail=detail, remedy=package_remedy(tool, answer["state"]))


def look_for_clash() -> Finding | None:
    """Two distributions that write the folder `onnxruntime`, which pip lets happen and only their metadata shows."""
    installed = package_versions(_ONNXRUNTIME)
    if len(installed) < 2:
        return None
    named = ", ".join(f"{name} {version}" for name, version in installed.items())
    extra = "gpu" if "onnxruntime-gpu" in installed else "cpu"
    return Finding(
        subject="onnxruntime",
        state="broken",
        detail=f"{named} are installed together and write the same folder: the last one installed is what runs",
        remedy=f"pip uninstall -y {' '.join(installed)} && pip install '.[{extra}]'"
        + (", or '.[cpu]' without a GPU" if extra == "gpu" else ""),
    )


def package_remedy(package: Package, state: str) -> str:
    """The command that installs a package, or removes the broken one first: pip leaves what it thinks is there."""
    installed = package_versions(package.distributions) if state == "broken" else {}
    remove = f"pip uninstall -y {' '.join(installed)} && " if installed else ""
    return f"{remove}pip install {package.install}"
