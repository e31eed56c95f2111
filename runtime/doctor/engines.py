"""Every engine on every device: usable, missing something, or broken, each looked at in a child of its own."""

from concurrent.futures import ThreadPoolExecutor

from runtime.doctor.child import SECONDS, ask_child
from runtime.doctor.finding import EngineFinding, Section
from runtime.doctor.packages import ENGINE_PACKAGES, look_for_clash, package_remedy
from runtime.host import package_versions, processor_name, usable_cores
from runtime.requirements import REQUIREMENTS
from runtime.target import TARGETS, Target

__all__ = ["look_at_engine", "look_at_engines"]


def look_at_engines(seconds: float = SECONDS) -> Section:
    """Look at every backend of this release, and for packages that must not be installed together.

    Args:
        seconds: How long to wait for each.
    """
    with ThreadPoolExecutor(usable_cores()) as threads:
        found = list(threads.map(lambda backend: look_at_engine(backend, seconds), REQUIREMENTS))
    clash = look_for_clash()
    return Section(title="engines", findings=(*found, clash) if clash else tuple(found))


def look_at_engine(backend: str, seconds: float = SECONDS) -> EngineFinding:
    """Look at one backend.

    Args:
        backend: One of `REQUIREMENTS`.
        seconds: How long to wait.
    """
    packages = ENGINE_PACKAGES[backend]
    answer = ask_child("probe", "backend", backend, seconds=seconds)
    if isinstance(answer, str):
        what = f"Looking for what {backend} needs {answer}"
        answer = {"state": "broken", "broken": [packages[0].module], "what": what}
    detail = ". ".join(text for text in (answer["what"], *answer.get("facts", ())) if text)
    mended = [package_remedy(package, "broken") for package in packages if package.module in answer["broken"]]
    device = processor_name() if backend.startswith("cpu-") else ""
    targets = [Target.parse(kind) for kind in TARGETS]
    return EngineFinding(
        subject=backend,
        state=answer["state"],
        detail=detail,
        remedy=" && ".join(mended) or answer.get("remedy", ""),
        versions={name: v for package in packages for name, v in package_versions(package.distributions).items()},
        device=answer.get("device") or device,
        driver=answer.get("driver", ""),
        precisions=tuple(target.precision for target in targets if target.backend == backend),
    )
