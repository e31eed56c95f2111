"""From genotype and weights to gated files for every target, in a bundle."""

from export.ahead import build_ahead
from export.bundle import card_of, compose_bundle, extend_bundle, sample_pair
from export.card import card_text
from export.choose import Candidate, Choice, choose_default, time_candidates
from export.compile import Compiled, compile_bundle
from export.errors import ExportError, GateError
from export.gates import Gate, Parity, compare, require_parity, run_whole
from export.graphs import Subject
from export.onnx_graph import OPSET, export_onnx
from export.steps import Step, StepStore
from export.targets import plan_targets
from export.tiling import Tiling, choose_tiling
from runtime import Card

__all__ = [
    "OPSET",
    "Candidate",
    "Card",
    "Choice",
    "Compiled",
    "ExportError",
    "Gate",
    "GateError",
    "Parity",
    "Step",
    "StepStore",
    "Subject",
    "Tiling",
    "build_ahead",
    "card_of",
    "card_text",
    "choose_default",
    "choose_tiling",
    "compare",
    "compile_bundle",
    "compose_bundle",
    "export_onnx",
    "extend_bundle",
    "plan_targets",
    "require_parity",
    "run_whole",
    "sample_pair",
    "time_candidates",
]
