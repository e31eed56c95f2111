"""Every space, in every precision, on every engine of this machine, passes its gates."""

from pathlib import Path
from typing import Any

import pytest

from export.engine_steps import EngineSteps
from export.graphs import GraphSteps
from export.steps import StepStore
from export.targets import plan_targets
from models import spaces
from runtime import Target
from tests.export.subjects import CPU, make_subject, random_network

CASES = [(name, values) for name, space in spaces().items() for values in space.examples[:1]]
MORE = [(name, values) for name, space in spaces().items() for values in space.examples[1:]]


def passes_every_gate(tmp_path: Path, name: str, values: dict[str, Any]) -> None:
    subject = make_subject(tmp_path / "bundle", random_network(name, values), pairs=1, side=32)
    graphs = GraphSteps(subject, StepStore(tmp_path / "work"), threads=1)
    models = {"fp32": graphs.fp32(), "fp16": graphs.fp16()}
    planned = plan_targets(["auto"], subject.bundle.manifest)
    assert {*CPU} <= {entry.target.kind for entry in planned}
    models["int8"] = graphs.int8(graphs.fp32(), (Target("cpu", "openvino", "int8"),))
    assert {step.status for step in graphs.steps} <= {"ok", "skipped"}, graphs.steps
    made = {precision: model for precision, model in models.items() if model}
    assert len(made) == 3
    # Rounding shows, so what is compared is not a network that does nothing.
    for precision, least in (("fp16", 1e-6), ("int8", 1e-4)):
        (step,) = [step for step in graphs.steps if step.name == precision]
        assert step.max_difference is not None
        assert step.max_difference > least
    engines = EngineSteps(subject, StepStore(tmp_path / "work"), graphs.gate, graphs.inputs, made)
    for entry in planned:
        engines.run(entry)
    # An fp16 graph has no engine of its own on a processor: its step is the gate, in ONNX Runtime between casts.
    assert [step.status for step in engines.steps] == ["ok"] * len(planned), engines.steps


@pytest.mark.parametrize(("name", "values"), CASES, ids=[name for name, _ in CASES])
def test_every_space_in_every_precision_passes_on_every_engine(
    tmp_path: Path, name: str, values: dict[str, Any]
) -> None:
    passes_every_gate(tmp_path, name, values)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "values"), MORE, ids=[f"{name}-x{values['scale']}" for name, values in MORE])
def test_so_does_every_other_example(tmp_path: Path, name: str, values: dict[str, Any]) -> None:
    passes_every_gate(tmp_path, name, values)
