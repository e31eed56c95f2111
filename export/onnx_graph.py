"""A torch network as an ONNX file with dynamic N, H and W."""

import io
import warnings

import onnx
import torch
from torch import nn

from export.errors import ExportError

OPSET = 18
INPUT_NAME = "image"
OUTPUT_NAME = "restored"


def export_onnx(network: nn.Module, multiple: int = 1, scale: int = 1) -> bytes:
    """Serialise `network`: input (N, 3, H, W), output (N, 3, scale*H, scale*W), float32, all but channels dynamic.

    The tracing exporter is used because it takes a tenth of a second where the graph-capturing one takes seconds
    (a latency table exports a hundred small graphs), and gives the same numbers. It does not record that H and W
    must be multiples of something, so that goes into the file's metadata.

    Args:
        network: Put into eval mode; its parameters stay where they are.
        multiple: H and W must be multiples of this.
        scale: Output size over input size.

    Raises:
        ExportError: The result is not a valid ONNX model.
    """
    network.eval()
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
            network,
            (example,),
            buffer,  # type: ignore[arg-type]  # the tracing exporter writes to open files too
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: axes, OUTPUT_NAME: {0: "N", 2: f"{scale}*H", 3: f"{scale}*W"}},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    for key, value in (("multiple", multiple), ("scale", scale)):
        entry = model.metadata_props.add()
        entry.key, entry.value = f"millisight.{key}", str(value)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    data: bytes = model.SerializeToString()
    return data
