import pytest
import torch

from training import TrainingError, pick_device
from training.precision import autocast, resolve_precision

CPU = torch.device("cpu")


def test_cpu_is_always_there() -> None:
    assert pick_device("cpu") == CPU


def test_auto_is_what_torch_finds() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_is_missing_is_an_error_not_a_fallback() -> None:
    if torch.cuda.is_available():
        assert pick_device("cuda").type == "cuda"
    else:
        with pytest.raises(TrainingError, match="sees no CUDA device; use --device cpu"):
            pick_device("cuda")


def test_an_unknown_device_lists_what_is_known() -> None:
    with pytest.raises(TrainingError, match="unknown device 'tpu'; known: auto, cpu, cuda"):
        pick_device("tpu")


def test_precision_on_a_cpu() -> None:
    assert resolve_precision("auto", CPU) == "fp32"
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"
    with pytest.raises(TrainingError, match="fp16 training needs a CUDA device"):
        resolve_precision("fp16", CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_auto_takes_a_half_on_cuda() -> None:
    assert resolve_precision("auto", torch.device("cuda")) in ("bf16", "fp16")


def test_autocast_computes_in_what_was_settled() -> None:
    a = torch.rand(4, 4)
    with autocast("fp32", CPU):
        assert (a @ a).dtype == torch.float32
    with autocast("bf16", CPU):
        assert (a @ a).dtype == torch.bfloat16
