"""What a running Prometheus holds against what dashboards, rules and catalogues say; faults as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from monitoring.panels import Dashboard
from monitoring.prometheus import PrometheusClient, PrometheusError, Rule, Series
from monitoring.rules import Rules
from monitoring.snapshot import place
from monitoring.variables import VariableError, Window, choose, substitute

# What Prometheus itself says of every target.
_OF_PROMETHEUS = ("up", "scrape_")
_SUFFIXES = ("_bucket", "_sum", "_count")


def panel_faults(
    dashboard: Dashboard, needs: Mapping[str, str], absent: Sequence[str], client: PrometheusClient, window: Window
) -> list[str]:
    """Queries of panels and annotations that fail, and panels that are not as full or as empty as they have to be.

    Args:
        dashboard: As it is committed.
        needs: Titles of panels that need something, and what.
        absent: Of these needs, what is not there; such panels have to be empty, not 0.
        client: Of a Prometheus that holds everything else.
        window: The time shown.
    """
    faults = list[str]()
    chosen = choose(dashboard.variables, {}, window, client.label_values)
    # A panel that is repeated for every model is full if it is for one of them.
    answers: dict[tuple[str, str], list[Series]] = {}
    for placed in (placed for group in place(dashboard, chosen).values() for placed in group):
        for query in placed.panel.queries:
            name = f"{dashboard.uid} '{placed.panel.title}' {query.ref}"
            found = answers.setdefault((placed.panel.title, name), [])
            try:
                expr = substitute(query.expr, placed.chosen, window)
                at_the_end = client.instant(expr, window.end)
                course = () if query.instant else client.range(expr, window.start, window.end, window.step_s)
            except (PrometheusError, VariableError) as error:
                faults.append(f"{name}: {error}")
                continue
            found += at_the_end if query.instant else course
    for (title, name), found in answers.items():
        faults += [f"{name}: {fault}" for fault in _faults(found, needs.get(title) in absent)]
    for mark in dashboard.annotations:
        try:
            client.range(substitute(mark.expr, chosen, window), window.start, window.end, window.step_s)
        except (PrometheusError, VariableError) as error:
            faults.append(f"{dashboard.uid} annotation {mark.name}: {error}")
    return faults


def rule_faults(committed: Rules, running: Sequence[Rule], client: PrometheusClient, since: float) -> list[str]:
    """Rules that are not there, fail, or record nothing.

    Args:
        committed: As they stand in the repository.
        running: As Prometheus has them.
        client: Of that Prometheus.
        since: Recorded series must have a point after this Unix time, seconds.
    """
    wanted = sorted(rule.name for rule in committed.all)
    faults = [] if wanted == sorted(rule.name for rule in running) else ["Prometheus has other rules"]
    faults += [f"{rule.name}: {rule.health} {rule.error}" for rule in running if rule.health != "ok"]
    (now,) = client.instant("time()")
    for rule in committed.records:
        found = client.instant(f"last_over_time({rule.name}[{max(1, round(now.last - since))}s])")
        faults += [f"{rule.name}: {fault}" for fault in _faults(found, empty=False)]
    return faults


def family_faults(job: str, catalogue: Iterable[str], absent: Iterable[str], client: PrometheusClient) -> list[str]:
    """Families of a catalogue that a job does not export, and what it exports beyond.

    Args:
        job: Prometheus' name of what is scraped.
        catalogue: Names of families, histograms without suffix.
        absent: Of these, what cannot be there on this machine and must not.
        client: Of a Prometheus that has scraped it.
    """
    names = set(client.label_values("__name__", f'{{job="{job}"}}'))
    scraped = {name for name in names if not name.startswith(_OF_PROMETHEUS) and ":" not in name and name != "ALERTS"}
    scraped -= {"ALERTS_FOR_STATE"}
    wanted = set(catalogue) - set(absent)
    families = {_family(name, wanted) for name in scraped}
    faults = [f"{name}: in the catalogue, not exported" for name in sorted(wanted - families)]
    return faults + [f"{name}: exported, not in the catalogue" for name in sorted(families - wanted)]


def _family(name: str, wanted: set[str]) -> str:
    base = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)
    return base if base in wanted else name


def _faults(answer: Sequence[Series], empty: bool) -> list[str]:
    if empty:
        return [f"{len(answer)} series where none can be"] if answer else []
    if not answer:
        return ["empty"]
    broken = [series for series in answer if not series.finite]
    return [f"{len(broken)} of {len(answer)} series not finite, such as {dict(broken[0].labels)}"] if broken else []
