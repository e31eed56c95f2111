"""What every CUDA engine needs: a driver that answers, and a GPU."""

from runtime.cuda import cuda_status
from runtime.requirements.missing import Missing

__all__ = ["missing_gpu"]


def missing_gpu() -> Missing | None:
    """Why there is no GPU to use, or None. Asked once per process, in a child."""
    status = cuda_status()
    return None if status.available else Missing(status.missing, status.remedy)
