from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime
import pytest

from runtime.engines import onnxruntime_session
from runtime.engines.onnxruntime_session import PROVIDERS, cuda_fault, open_session, session_options
from runtime.errors import EngineError, TargetError

MakeModel = Callable[..., bytes]


def _lists_cuda() -> bool:
    return PROVIDERS["cuda"] in onnxruntime.get_available_providers()


class _Lenient:
    """ONNX Runtime without the setting that forbids it to fall back: what older versions know no better than."""

    def InferenceSession(self, *arguments: Any, sess_options: Any, **settings: Any) -> Any:  # noqa: N802
        del sess_options
        return onnxruntime.InferenceSession(*arguments, sess_options=session_options(onnxruntime, 1), **settings)


without_cuda = pytest.mark.skipif(_lists_cuda(), reason="this onnxruntime may have CUDA")
unknown_provider = pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")


@without_cuda
@unknown_provider
def test_a_provider_that_cannot_be_had_is_refused(make_model: MakeModel) -> None:
    options = session_options(onnxruntime, 1)
    with pytest.raises(EngineError, match="fallback to CPU EP has been explicitly disabled"):
        open_session(onnxruntime, make_model(), options, PROVIDERS["cuda"])


@without_cuda
@unknown_provider
def test_a_provider_that_fell_back_is_refused(make_model: MakeModel) -> None:
    # Left to itself ONNX Runtime answers a request for CUDA without CUDA with a session on the processor.
    options = session_options(onnxruntime, 1)
    with pytest.raises(TargetError, match=r"CUDA.* was asked for, but .* run on CPU"):
        open_session(_Lenient(), make_model(), options, PROVIDERS["cuda"])


@without_cuda
@unknown_provider
def test_cuda_that_does_not_start_has_a_reason(capfd: pytest.CaptureFixture[str]) -> None:
    assert "CUDAExecutionProvider" in cuda_fault(onnxruntime)
    assert capfd.readouterr().out == ""


def test_the_model_that_tries_a_provider_is_sound() -> None:
    model = onnxruntime_session._SMALLEST_MODEL
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    session = open_session(onnxruntime, model, session_options(onnxruntime, 1), PROVIDERS["cpu"])
    assert session.get_providers() == [PROVIDERS["cpu"]]
