"""What a used service exposes is what the catalogue says, no more and no less."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.jobs import Holdings
from serving.metrics import Family, families
from tests.serving.contract.networks import nan_network
from tests.serving.metrics.places import ask, opened, restore, write_promised_bundle


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of a service in which everything has happened once."""
    folder = tmp_path_factory.mktemp("used")
    write_promised_bundle(folder / "b" / "a", "quick", 1e6)
    write_promised_bundle(folder / "b" / "n", "nan", 1e6, model=nan_network())
    place = opened(folder / "state", folder / "b", jobs="sqlite")
    assert restore(place, model="quick") == 200
    assert restore(place, level=255, model="nan") == 500
    assert ask(place, "GET", "/nowhere").status_code == 404
    # What is looked at from time to time.
    place.metrics.observe_scheduler(place.scheduler.stats, place.bodies)
    place.metrics.observe_catalogue(place.fleet.keeper.catalogue)
    place.metrics.observe_jobs(Holdings(0, 0))
    return place.metrics.render()[0].decode()


def differences(text: str, told: Iterable[Family]) -> list[str]:
    """What the text has that the catalogue does not, the other way round, and what they say differently."""
    catalogue = {family.name: family for family in told}
    shown = {}
    for metric in text_string_to_metric_families(text):
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        labels = {label for sample in metric.samples for label in sample.labels} - {"le"}
        shown[name] = (metric.type, labels, metric.documentation)
    found = [f"{name} is not in the catalogue" for name in shown.keys() - catalogue.keys()]
    for name, family in catalogue.items():
        if name not in shown:
            found.append(f"{name} is not exposed")
        elif shown[name] != (family.kind, set(family.labels), family.help):
            found.append(f"{name} is {shown[name]}")
    return found


def test_a_used_service_exposes_the_whole_catalogue_and_nothing_else(used: str) -> None:
    # Absent where there is no GPU, never zero.
    gpu = "restore_gpu_" in used
    assert (
        differences(used, [family for family in families() if gpu or not family.name.startswith("restore_gpu_")]) == []
    )


def test_the_comparison_can_fail(used: str) -> None:
    first, *others = (family for family in families() if not family.name.startswith("restore_gpu_"))
    assert differences(used, others) == [f"{first.name} is not in the catalogue"]
    unknown = Family("restore_unknown_total", "counter", (), "?")
    assert differences(used, [first, *others, unknown]) == ["restore_unknown_total is not exposed"]
    wider = Family(first.name, first.kind, (*first.labels, "path"), first.help)
    (told,) = differences(used, [wider, *others])
    assert told.startswith(f"{first.name} is (")


def test_names_are_unique_and_follow_their_kind() -> None:
    names = [family.name for family in families()]
    assert len(set(names)) == len(names) > 40
    for family in families():
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert bool(family.buckets) == (family.kind == "histogram"), family.name
        assert list(family.buckets) == sorted(set(family.buckets)), family.name


def test_promtool_finds_nothing_wrong(used: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")

    def check(text: str) -> str:
        return subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True).stderr

    assert check(used) == ""
    assert "restore_bad" in check(f"{used}# TYPE restore_bad counter\nrestore_bad 1\n")
