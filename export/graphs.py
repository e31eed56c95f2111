"""The steps that make graphs: fp32, simplified, fp16, int8. Each is compared with the reference on the same images."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from export.errors import ExportError, GateError
from export.gates import Gate, ReferenceName, Restore, images_hash, require_parity, whole
from export.int8_ladder import AIM, choose_int8
from export.onnx_graph import export_onnx
from export.simplify import simplify
from export.steps import Step, StepStore
from models import Network, content_hash, fold_network, has_folds, restore_whole
from runtime import Bundle, Engine, EngineError, StepRecord, Target, open_engine
from runtime.host import package_versions
from runtime.records import Precision
from runtime.timing import lower_half_mean
from tasks.batches import ValidationPair
from tasks.parity import BOUNDS
from tasks.task import Task

WITHOUT_WEIGHTS = "made from the weights, which a bundle does not hold: export the run"
INT8_RUNS = 7
_PACKAGES = ("millisight", "torch", "onnx", "onnxruntime", "onnxslim", "numpy")


@dataclass(frozen=True)
class Subject:
    """What is compiled, and on which images it is judged.

    Attributes:
        bundle: What there is already.
        task: Of the bundle.
        pairs: The gate's images, never trained on.
        dataset: What the gate's images are called in tables.
        calibration: Degraded training patches, (1, 3, H, W) each; none of the gate's.
        network: The trained network, if its run is at hand.
        extras: File name to content of what the bundle gets besides graphs and engines.
    """

    bundle: Bundle
    task: Task
    pairs: tuple[ValidationPair, ...]
    dataset: str
    calibration: tuple[NDArray[np.float32], ...]
    network: Network | None = None
    extras: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def multiple(self) -> int:
        """Height and width of what the network takes are multiples of this."""
        return self.bundle.manifest.size.multiple

    @property
    def scale(self) -> int:
        """Output size over input size."""
        return self.bundle.manifest.scale

    @property
    def reference_name(self) -> ReferenceName:
        """What everything is compared with."""
        return "onnx-fp32" if self.network is None else "torch"

    @property
    def calibration_id(self) -> str:
        """Hash of the calibration images."""
        return images_hash(self.calibration)


class GraphSteps:
    """Makes and gates graphs.

    Args:
        subject: What is compiled.
        store: Where results are kept.
        threads: Of the processor's targets, for the choice of int8.
    """

    def __init__(self, subject: Subject, store: StepStore, threads: int) -> None:
        self.subject, self._store, self._threads = subject, store, threads
        self.steps: list[StepRecord] = []
        self.gate = self._gate()
        self._inputs = {
            "images": images_hash([image for pair in subject.pairs for image in (pair.degraded, pair.clean)])
        }
        self._inputs |= {"reference": self._reference_id(), **package_versions(_PACKAGES)}

    @property
    def inputs(self) -> dict[str, str]:
        """What the result of every step follows from."""
        return dict(self._inputs)

    def fp32(self) -> bytes:
        """`export`, `fold` and `simplify`: the graph that all others are made from.

        Raises:
            GateError: The export does not compute what the network computes; nothing else can be made.
        """
        exported = self._exported()
        self._take(self._folded())
        simplified = self._take(
            self._store.do("simplify", {**self._inputs, "model": digest(exported)}, lambda: self._simplified(exported))
        )
        final = simplified.content if simplified.ok and simplified.content else exported
        if self.subject.network is None:
            # From here on what was simplified stands for what it was made from: exported again, nothing is done twice.
            self._inputs["reference"] = digest(final)
        return final

    def fp16(self) -> bytes | None:
        """`fp16`: from the weights, or the file that the bundle has; None if there is neither, or it is wrong."""
        network, subject = self.subject.network, self.subject
        if network is None:
            return self._there("fp16", WITHOUT_WEIGHTS)

        def work() -> Step:
            try:
                model = export_onnx(network, subject.multiple, subject.scale, "fp16")
            except ExportError as error:
                return Step(StepRecord(name="fp16", status="failed", why=str(error)))
            return self._gated("fp16", "fp16", model)

        step = self._take(self._store.do("fp16", self._inputs, work))
        return step.content if step.ok else None

    def int8(self, fp32: bytes, targets: tuple[Target, ...]) -> bytes | None:
        """`int8`: quantised from the fp32 graph; None if it costs too much quality, or cannot be done here.

        Without the run, a file that the bundle has already is kept: it was calibrated on what the network was made for.

        Args:
            fp32: What is quantised.
            targets: Those that will run it; the faster one of them says how fast a choice of layers is.
        """
        subject = self.subject
        if subject.network is None and "int8" in subject.bundle.manifest.models:
            return self._there("int8", "")
        clocks = targets or (Target("cpu", "onnxruntime", "int8", self._threads),)
        inputs = {
            **self._inputs,
            "model": digest(fp32),
            "calibration": subject.calibration_id,
            "clocks": [clock.slug for clock in clocks],
            "tile": list(subject.bundle.manifest.size.tile),
        }
        step = self._take(self._store.do("int8", inputs, lambda: self._quantised(fp32, clocks)))
        return step.content if step.ok else None

    def _there(self, precision: Precision, absent: str) -> bytes | None:
        """The graph that the bundle has in a precision, gated anew."""
        bundle = self.subject.bundle
        if precision not in bundle.manifest.models:
            self._skip(precision, absent)
            return None
        model = bundle.model_path(precision).read_bytes()
        made = next((step for step in bundle.manifest.steps if step.name == precision and step.status == "ok"), None)

        def work() -> Step:
            step = self._gated(precision, precision, model)
            if made is None or not step.ok:
                return step
            # What it was made from and how is still so.
            return replace(step, record=step.record.model_copy(update={"source": made.source, "why": made.why}))

        step = self._take(self._store.do(precision, {**self._inputs, "model": digest(model)}, work))
        return step.content if step.ok else None

    def _exported(self) -> bytes:
        """`export`: gated from the weights, or the file that was exported before."""
        network, subject = self.subject.network, self.subject
        if network is None:
            self._skip("export", f"exported before: {subject.bundle.manifest.models['fp32']}")
            return subject.bundle.model_path("fp32").read_bytes()
        model = export_onnx(network, subject.multiple, subject.scale)
        inputs = {**self._inputs, "model": digest(model)}
        step = self._take(self._store.do("export", inputs, lambda: self._gated("export", "fp32", model)))
        if not step.ok:
            require_parity(self.gate.check(self._opened(model, "fp32")), "the ONNX export")
        return model

    def _folded(self) -> Step:
        """`fold`: what is served instead of layers that trained as several branches, compared in torch."""
        network = self.subject.network
        if network is None:
            return self._store.say(StepRecord(name="fold", status="skipped", why=WITHOUT_WEIGHTS))
        if not has_folds(network):
            why = "this network has no re-parameterisable layer"
            return self._store.say(StepRecord(name="fold", status="skipped", why=why))

        def work() -> Step:
            served = fold_network(network)
            return Step(self.gate.record("fold", "fp32", self.gate.check(partial(restore_whole, served))))

        return self._store.do("fold", self._inputs, work)

    def _simplified(self, model: bytes) -> Step:
        source = digest(model)
        try:
            simpler = simplify(model)
        except ExportError as error:
            return Step(StepRecord(name="simplify", status="skipped", why=str(error), source=source))
        before = len(onnx.load_from_string(model).graph.node)
        graph = onnx.load_from_string(simpler)
        after = len(graph.graph.node)
        if after >= before:
            # The file that was timed for the promise stays what it is, to the byte.
            why = f"nothing to leave out of {before} nodes: the file stays as it is"
            return Step(StepRecord(name="simplify", status="ok", why=why, source=source))
        # Names of sizes in between differ from process to process, and nothing needs them.
        del graph.graph.value_info[:]
        step = self._gated("simplify", "fp32", graph.SerializeToString(deterministic=True), source)
        if not step.ok:
            return step
        return replace(step, record=step.record.model_copy(update={"why": f"{before} nodes became {after}"}))

    def _quantised(self, fp32: bytes, clocks: tuple[Target, ...]) -> Step:
        tile = self.subject.bundle.manifest.size.tile
        subject, source, gate = self.subject, digest(fp32), BOUNDS["int8"].db_lost
        try:
            choice = choose_int8(
                fp32,
                subject.calibration,
                db_lost=lambda model: self.gate.check(self._opened(model, "int8")).db_lost,
                seconds=lambda model: min(tile_seconds(model, clock, tile) for clock in clocks),
                aim=AIM,
                gate=gate,
            )
        except EngineError as error:
            return Step(StepRecord(name="int8", status="failed", why=str(error), source=source))
        except ExportError as error:
            return Step(StepRecord(name="int8", status="skipped", why=str(error), source=source))
        tried = "; ".join(f"{name}: {db:.3f} dB, {1000 * seconds:.4g} ms" for name, db, seconds in choice.tried)
        if choice.model is None:
            why = f"every choice of layers loses more than {gate:g} dB ({tried})"
            return Step(StepRecord(name="int8", status="dropped", why=why, source=source))
        step = self._gated("int8", "int8", choice.model, source)
        if not step.ok:
            return step
        why = f"{choice.rung} (tried on {' and '.join(clock.kind for clock in clocks)}: {tried})"
        return replace(step, record=step.record.model_copy(update={"why": why}))

    def _gated(self, name: str, precision: str, model: bytes, source: str = "") -> Step:
        """A graph, if it passes the gate on this machine's processor."""
        try:
            parity = self.gate.check(self._opened(model, precision))
        except EngineError as error:
            return Step(StepRecord(name=name, status="failed", why=str(error), source=source))
        record = self.gate.record(name, precision, parity, source=source)
        if record.status != "ok":
            return Step(record)
        return Step(record.model_copy(update={"file": file_name(precision, self.subject.bundle)}), model)

    def _opened(self, model: bytes, precision: str) -> Restore:
        return whole(_home_engine(model, precision), self.subject.multiple, self.subject.scale)

    def _gate(self) -> Gate:
        subject, network = self.subject, self.subject.network
        if network is not None:
            return Gate("torch", partial(restore_whole, network), subject.task, subject.pairs)
        if "fp32" not in subject.bundle.manifest.models:
            held = ", ".join(subject.bundle.manifest.models)
            raise GateError(
                f"the bundle {subject.bundle.folder} holds no fp32 graph to compare with, only {held}; export its run, "
                "where the weights are"
            )
        reference = self._opened(subject.bundle.model_path("fp32").read_bytes(), "fp32")
        return Gate("onnx-fp32", reference, subject.task, subject.pairs)

    def _reference_id(self) -> str:
        """What the reference is made of: the weights, or the file."""
        network, manifest = self.subject.network, self.subject.bundle.manifest
        if network is None:
            return manifest.files[manifest.models["fp32"]]
        weights = {name: images_hash([tensor.detach().cpu().numpy()]) for name, tensor in network.state_dict().items()}
        return content_hash({"genotype": manifest.lineage.genotype, "weights": weights})

    def _take(self, step: Step) -> Step:
        self.steps.append(step.record)
        return step

    def _skip(self, name: str, why: str) -> None:
        self._take(self._store.say(StepRecord(name=name, status="skipped", why=why)))


def file_name(precision: str, bundle: Bundle | None = None) -> str:
    """What a graph's file is called: as in the bundle, else `model.onnx`, `model-fp16.onnx`, `model-int8.onnx`."""
    models = {} if bundle is None else {str(known): name for known, name in bundle.manifest.models.items()}
    if precision in models:
        return models[precision]
    plain = "model.onnx" if precision == "fp32" else f"model-{precision}.onnx"
    # The bundle of a target that computes in fp16 has its one graph under the plain name.
    return plain if plain not in models.values() else f"model-{precision}.onnx"


def digest(model: bytes) -> str:
    """First 16 digits of the SHA-256 of a file."""
    return hashlib.sha256(model).hexdigest()[:16]


def tile_seconds(model: bytes, target: Target, tile: tuple[int, int]) -> float:
    """Seconds of one tile, roughly: to order choices of layers, not to be written down."""
    image = np.random.default_rng(0).random((1, 3, *tile), dtype=np.float32)
    timer = open_engine(model, target).timer(image)
    timer()
    return lower_half_mean([timer() for _ in range(INT8_RUNS)])


def _home_engine(model: bytes, precision: str) -> Engine:
    """Where graphs are gated: ONNX Runtime on this processor, which computes fp16 files in fp32 between casts."""
    return open_engine(model, Target.parse(f"cpu-onnxruntime-{'int8' if precision == 'int8' else 'fp32'}"))
