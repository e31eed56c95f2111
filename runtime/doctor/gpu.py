"""The NVIDIA driver and the GPU behind it."""

from typing import Any

from runtime.cuda_probe import NO_DEVICE
from runtime.doctor.child import SECONDS, ask_child
from runtime.doctor.finding import Finding, Section

__all__ = ["look_at_gpu"]

_NO_DRIVER = "On a machine with an NVIDIA GPU install its driver; in a container, start it with: docker run --gpus all"
_BROKEN = (
    "Run `nvidia-smi`; if it fails too, install the driver again and restart, if not, start the container again with: "
    "docker run --gpus all"
)
_HIDDEN = "Check that `nvidia-smi` lists a GPU and that CUDA_VISIBLE_DEVICES does not hide it"


def look_at_gpu(seconds: float = SECONDS) -> Section:
    """Ask the driver in a child, which a broken one may end."""
    return Section(title="NVIDIA GPU", findings=(_driver(ask_child("probe", "driver", seconds=seconds)),))


def _driver(answer: dict[str, Any] | str) -> Finding:
    if isinstance(answer, str):
        return Finding(subject="driver", state="broken", detail=f"Asking the NVIDIA driver {answer}", remedy=_BROKEN)
    if not answer["loads"] and not answer["absent"]:
        broken = f"The NVIDIA driver does not load ({answer['missing']})"
        return Finding(subject="driver", state="broken", detail=broken, remedy=_BROKEN)
    if not answer["loads"]:
        absent = f"There is no NVIDIA driver ({answer['missing']})"
        return Finding(subject="driver", state="missing", detail=absent, remedy=_NO_DRIVER)
    if answer.get("kind") == NO_DEVICE:
        return Finding(subject="driver", state="missing", detail=answer["missing"], remedy=_HIDDEN)
    if "missing" in answer:
        return Finding(subject="driver", state="broken", detail=answer["missing"], remedy=_BROKEN)
    version = answer.get("driver") or "of an unknown version"
    detail = (
        f"{answer['device']}, compute capability {answer['capability']}, {answer['memory_mib']} MiB; driver {version}, "
        f"which supports CUDA up to {answer['cuda']}"
    )
    return Finding(subject="driver", state="ok", detail=detail)
