"""What a run exported, read back from its text, and a place that keeps every version of it."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from training.telemetry import RunFacts

FACTS = RunFacts(
    run="denoise-by-hand-0", task="denoise", method="by-hand", target="cpu-onnxruntime-fp32-1t", preset="smoke",
    report="denoise-by-hand-0/report.json",
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """Samples of a scrape."""

    kinds: dict[str, str]
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def of(cls, text: str) -> "Exported":
        found = [family for family in text_string_to_metric_families(text) if family.samples]
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in found
            for sample in family.samples
        }
        assert len(samples) == sum(len(family.samples) for family in found)
        return cls({family.name: family.type for family in found}, samples)

    def labels(self, name: str) -> set[frozenset[str]]:
        """Names of labels of a family's series."""
        return {frozenset(key for key, _ in labels) for found, labels in self.samples if found == name}

    def values(self, name: str, label: str) -> dict[str, float]:
        """The series of a family by one of its labels."""
        return {dict(labels)[label]: value for (found, labels), value in self.samples.items() if found == name}

    def value(self, name: str) -> float:
        """Of a family with one series."""
        (value,) = [value for (found, _), value in self.samples.items() if found == name]
        return value


@dataclass
class Kept:
    """A place for metrics that keeps everything, and may be broken for a while."""

    name: str = "keeping metrics"
    remedy: str = "mend it"
    texts: list[str] = field(default_factory=list)
    error: Exception | None = None

    def send(self, registry: CollectorRegistry) -> None:
        if self.error is not None:
            raise self.error
        self.texts.append(generate_latest(registry).decode())

    @property
    def last(self) -> Exported:
        return Exported.of(self.texts[-1])

    @property
    def all(self) -> list[Exported]:
        return [Exported.of(text) for text in self.texts]
