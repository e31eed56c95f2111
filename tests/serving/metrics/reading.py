"""The text of /metrics as numbers, and what must hold between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from tests.servers import Server

Labels = frozenset[tuple[str, str]]
Series = tuple[str, Labels]


@dataclass(frozen=True)
class Scrape:
    text: str

    @cached_property
    def values(self) -> Mapping[Series, float]:
        return {series: value for series, (value, _) in self._samples.items()}

    @cached_property
    def counted(self) -> Mapping[Series, float]:
        """What may never become less. A process's own time is not of that kind: it ends with the process."""
        return {
            series: value
            for series, (value, kind) in self._samples.items()
            if kind in ("counter", "histogram") and not series[0].startswith("process_")
        }

    @cached_property
    def _samples(self) -> Mapping[Series, tuple[float, str]]:
        found: dict[Series, tuple[float, str]] = {}
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                series = (sample.name, frozenset(sample.labels.items()))
                assert series not in found, f"{series} is there twice"
                found[series] = (sample.value, family.type)
        return found

    def sum(self, name: str, **labels: str) -> float:
        wanted = frozenset(labels.items())
        return sum(value for (own, has), value in self.values.items() if own == name and wanted <= has)

    def by(self, name: str, label: str) -> Mapping[str, float]:
        return {dict(labels)[label]: value for (own, labels), value in self.values.items() if own == name}


def went_back(scrapes: list[Scrape]) -> list[str]:
    """Counters that were less, or gone, in a later scrape."""
    return [
        f"{series}: {value} became {later.counted.get(series)}"
        for earlier, later in pairwise(scrapes)
        for series, value in earlier.counted.items()
        if later.counted.get(series, -1) < value
    ]


def scrape(server: Server) -> Scrape:
    with server.client() as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)
