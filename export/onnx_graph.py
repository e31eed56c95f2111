"""A torch network as an ONNX file with dynamic N, H and W."""

import io
import warnings
from typing import Literal, get_args

import onnx
import torch
from torch import nn

from export.errors import ExportError
from models import fold_module

OPSET = 18
INPUT_NAME = "image"
OUTPUT_NAME = "restored"

Precision = Literal["fp32", "fp16"]
"""What a graph computes in. Pictures go in and come out as float32 in both."""


class _HalfNetwork(nn.Module):
    """A network turned to float16, between float32 borders."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ExportError(
                    f"'{name}' has values that float16 cannot hold (65504 is its largest); export in fp32"
                )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        restored: torch.Tensor = self.network(image.half())
        return restored.float()


def export_onnx(network: nn.Module, multiple: int = 1, scale: int = 1, precision: str = "fp32") -> bytes:
    """Serialise `network`: input (N, 3, H, W), output (N, 3, scale*H, scale*W), float32, all but channels dynamic.

    The tracing exporter is used because it takes a tenth of a second where the graph-capturing one takes seconds
    (a latency table exports a hundred small graphs), and gives the same numbers. It does not record that H and W
    must be multiples of something, so that goes into the file's metadata.

    What trained as several branches is folded first (`models.fold_network`): the file holds what is served.

    With precision fp16 weights and arithmetic are float16, with a cast after the input and one before the output.
    Engines that take types from the file (TensorRT from 11 on takes nothing else) then need no setting for it.

    Args:
        network: Put into eval mode; its parameters stay where and as they are.
        multiple: H and W must be multiples of this.
        scale: Output size over input size.
        precision: `"fp32"` or `"fp16"`: `Target.precision` of where it is going to run.

    Raises:
        ExportError: The precision is unknown or too small for the weights, or the result is not a valid ONNX model.
    """
    if precision not in get_args(Precision):
        raise ExportError(f"unknown precision '{precision}'; allowed: {', '.join(get_args(Precision))}")
    network.eval()
    served = fold_module(network)
    traced = _HalfNetwork(served).eval() if precision == "fp16" else served
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    example = torch.zeros(1, 3, 8 * multiple, 8 * multiple, device=device)
    axes = {0: "N", 2: "H", 3: "W"}
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # torch >= 2.9 announces the newer exporter on every call; the docstring says why this one is used.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # An edge padding leaves a Slice that the tracer does not fold; the engine does.
        warnings.filterwarnings("ignore", message="Constant folding", category=UserWarning)
        torch.onnx.export(
            traced,
            (example,),
            buffer,  # type: ignore[arg-type]  # the tracing exporter writes to open files too
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: axes, OUTPUT_NAME: {0: "N", 2: f"{scale}*H", 3: f"{scale}*W"}},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    # A file in fp32 says nothing of it, as files have done before there was a choice.
    notes = {"multiple": multiple, "scale": scale} | ({"precision": precision} if precision != "fp32" else {})
    for key, value in notes.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"millisight.{key}", str(value)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    data: bytes = model.SerializeToString()
    return data
