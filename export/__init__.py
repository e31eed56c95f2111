"""Genotype and weights to ONNX, each step gated, into a bundle."""

from export.bundle import Card, card_text, compose_bundle, sample_pair
from export.errors import ExportError, GateError
from export.gates import Parity, compare, require_parity, run_whole
from export.onnx_graph import OPSET, export_onnx
from export.tiling import Tiling, choose_tiling

__all__ = [
    "OPSET",
    "Card",
    "ExportError",
    "GateError",
    "Parity",
    "Tiling",
    "card_text",
    "choose_tiling",
    "compare",
    "compose_bundle",
    "export_onnx",
    "require_parity",
    "run_whole",
    "sample_pair",
]
