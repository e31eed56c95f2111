"""What a run tells while it runs: to nobody, to a file, to a place that fails."""

import re
import subprocess
import sys
from dataclasses import dataclass
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.exported import FACTS, Exported, Kept
from tests.training.test_trainer import KilledError, config, equal, network, stream, tensors
from training import train
from training.telemetry import SILENT, STAGES, NetworkSeconds, Progress, TelemetryError, families
from training.telemetry.run_metrics import RunMetrics
from training.telemetry.sinks import Outlet, Textfile, gateway_url

CPU = torch.device("cpu")


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def listening(**options: Any) -> tuple[RunMetrics, Kept]:
    """Everything is heard, because no time passes."""
    place = Kept()
    return RunMetrics(FACTS, [place], **{"every": 0.0, "clock": Clock(), **options}), place


def test_every_family_says_what_it_is_and_belongs_to_a_run() -> None:
    names = [family.name for family in families()]
    assert len(set(names)) == len(names)
    for family in families():
        assert re.fullmatch(r"millisight_[a-z_]+[a-z]", family.name)
        assert family.labels[0] == "run"
        assert family.help.endswith(".")


def test_nobody_listens_and_nothing_is_computed() -> None:
    def explode() -> Any:
        raise AssertionError("it was computed")

    with SILENT.running(), SILENT.stage("train"):
        SILENT.report(explode, force=True)
        SILENT.network(explode)
    heard, _ = listening()
    with pytest.raises(AssertionError, match="it was computed"), heard.running(), heard.stage("train"):
        heard.report(explode)


WITHOUT = """
import sys
import search, search.__main__, search.telemetry, training, millisight.searching
config = search.RunConfig(task="denoise", target="cpu-onnxruntime-fp32-1t")
assert search.telemetry.run_telemetry(config) is training.telemetry.SILENT
assert "prometheus_client" not in sys.modules
from pathlib import Path
search.telemetry.run_telemetry(config, Path.cwd())
assert "prometheus_client" in sys.modules
"""


def test_a_run_without_metrics_does_not_load_the_client_library(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {WITHOUT}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_trainer_tells_every_step_and_trains_the_same(tmp_path: Path) -> None:
    telemetry, place = listening()
    alone = train(network(), stream(), config(), tmp_path / "a.safetensors", CPU)
    with telemetry.running(), telemetry.stage("train"):
        heard = train(network(), stream(), config(), tmp_path / "b.safetensors", CPU, telemetry=telemetry)
    assert equal(tensors(alone), tensors(heard))
    assert alone.losses == heard.losses
    told = [found.values("millisight_run_steps_done", "stage") for found in place.all]
    assert sorted({found["train"] for found in told if found}) == list(range(1, 13))
    last = place.last
    assert last.values("millisight_run_steps", "stage") == {"train": 12.0}
    assert last.values("millisight_loss", "stage") == {"train": heard.losses[-1]}
    assert set(last.values("millisight_learning_rate", "stage")) == {"train"}


def test_a_training_that_is_taken_up_again_goes_on_where_it_was(tmp_path: Path) -> None:
    class Mortal:
        num_versions = 1

        def batch_at(self, step: int) -> Any:
            if step == 6:
                raise KilledError
            return stream().batch_at(step)

    first, place = listening()
    with pytest.raises(KilledError), first.running(), first.stage("train"):
        train(network(), Mortal(), config(), tmp_path / "a.safetensors", CPU, telemetry=first)
    assert place.last.values("millisight_run_steps_done", "stage") == {"train": 6.0}
    assert place.last.value("millisight_run_failed") == 1.0
    second, place = listening()
    with second.running(), second.stage("train"):
        train(network(), stream(), config(), tmp_path / "a.safetensors", CPU, telemetry=second)
    # The checkpoint was made after step 4.
    told = [found.values("millisight_run_steps_done", "stage") for found in place.all]
    assert next(found["train"] for found in told if found) == 5.0
    assert place.last.value("millisight_run_failed") == 0.0
    third, place = listening()
    with third.running(), third.stage("train"):
        done = train(network(), stream(), config(), tmp_path / "a.safetensors", CPU, telemetry=third)
    assert place.last.values("millisight_run_steps_done", "stage") == {"train": 12.0}
    assert place.last.values("millisight_loss", "stage") == {"train": done.losses[-1]}


def test_one_stage_at_a_time_and_an_inner_one_gives_way() -> None:
    telemetry, place = listening()

    def current() -> set[str]:
        return {stage for stage, value in place.last.values("millisight_run_stage", "stage").items() if value}

    with telemetry.running():
        assert current() == set()
        with telemetry.stage("derive", part=1, parts=3, steps=1):
            assert place.last.values("millisight_run_steps_done", "stage") == {"derive": 1.0}
            with telemetry.stage("search"):
                assert current() == {"search"}
            assert current() == {"derive"}
        with telemetry.stage("train"):
            assert place.last.values("millisight_run_steps_done", "stage") == {"derive": 2.0}
        assert place.last.values("millisight_run_steps", "stage") == {"derive": 3.0}
        assert place.last.value("millisight_run_finished") == 0.0
    assert current() == set()
    assert set(place.last.values("millisight_run_stage", "stage")) == set(STAGES)
    assert (place.last.value("millisight_run_finished"), place.last.value("millisight_run_failed")) == (1.0, 0.0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_where_a_run_failed_stays_to_be_seen(error: type[BaseException]) -> None:
    telemetry, place = listening()
    with pytest.raises(error), telemetry.running(), telemetry.stage("derive", steps=1), telemetry.stage("search"):
        raise error
    assert place.last.values("millisight_run_stage", "stage")["search"] == 1.0
    assert place.last.values("millisight_run_steps_done", "stage") == {"derive": 0.0}
    assert (place.last.value("millisight_run_finished"), place.last.value("millisight_run_failed")) == (0.0, 1.0)


def test_progress_outside_of_a_stage_is_a_mistake_of_the_caller() -> None:
    telemetry, _ = listening()
    with telemetry.running(), pytest.raises(RuntimeError, match="outside of a stage"):
        telemetry.report(lambda: Progress(1, 2))


def test_what_is_not_known_is_absent() -> None:
    telemetry, place = listening()
    with telemetry.running(), telemetry.stage("derive"):
        telemetry.report(lambda: Progress(0, 1))
        telemetry.network(lambda: NetworkSeconds("5ms", allowed=0.005, predicted=0.004, measured=None))
    told = {name for name, _ in place.last.samples}
    absent = ("loss", "learning_rate", "validation_db", "network_measured_seconds", "search_price")
    assert told.isdisjoint({f"millisight_{name}" for name in absent})
    assert place.last.values("millisight_network_predicted_seconds", "budget") == {"5ms": 0.004}


def test_within_a_stage_it_is_told_every_few_seconds_and_at_its_ends_at_once() -> None:
    clock = Clock()
    telemetry, place = listening(every=5.0, clock=clock)
    asked: list[float] = []

    def progress() -> Progress:
        asked.append(clock.now)
        return Progress(1, 9)

    with telemetry.running():
        with telemetry.stage("train"):
            entered = len(place.texts)
            for _ in range(30):
                clock.now += 0.5
                telemetry.report(progress)
            assert asked == [105.0, 110.0, 115.0]
            assert len(place.texts) == entered + 3
            telemetry.report(progress, force=True)
            assert len(asked) == 4
        before = len(place.texts)
        with telemetry.stage("export"):
            assert len(place.texts) == before + 1


def test_a_place_that_fails_is_said_once_tried_again_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    clock, place = Clock(), Kept(error=ConnectionRefusedError("nobody there"))
    outlet = Outlet(place, 5.0, clock)
    telemetry, _ = listening()
    for _ in range(20):
        outlet.send(telemetry.registry, force=True)
        clock.now += 1.0
    assert (outlet.failures, outlet.sent) == (4, 0)  # each 5 seconds, changes of stage or not
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert "keeping metrics failed (ConnectionRefusedError: nobody there); the run goes on and tries again" in said
    place.error = None
    outlet.send(telemetry.registry)
    assert (outlet.failures, outlet.sent) == (4, 1)
    outlet.close(telemetry.registry)
    assert "failed 4 of 6 times; the final values got through" in capsys.readouterr().err
    place.error = RemoteDisconnected()
    outlet.close(telemetry.registry)
    assert "failed 5 of 7 times; the final values did not get through" in capsys.readouterr().err


def test_a_place_that_is_slow_gets_a_twentieth_of_the_time() -> None:
    clock = Clock()

    class Slow(Kept):
        def send(self, registry: Any) -> None:
            clock.now += 2.0
            super().send(registry)

    place = Slow()
    outlet = Outlet(place, 5.0, clock)
    telemetry, _ = listening()
    while clock.now < 100.0 + 400.0:
        outlet.send(telemetry.registry)
        clock.now += 0.1
    assert len(place.texts) == 10


def test_an_error_of_ours_is_not_taken_for_one_of_the_place() -> None:
    outlet = Outlet(Kept(error=ZeroDivisionError()), 5.0)
    with pytest.raises(ZeroDivisionError):
        outlet.send(listening()[0].registry)


def test_the_textfile_is_replaced_whole_and_goes_on_after_its_folder_was_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    path = folder / f"millisight-{FACTS.run}.prom"
    telemetry = RunMetrics(FACTS, [Textfile(folder, FACTS.run)], every=0.0, clock=Clock())
    with telemetry.running(), telemetry.stage("measure"):
        assert list(folder.iterdir()) == [path]
        path.unlink()
        folder.rmdir()
        telemetry.report(lambda: Progress(1, 3))
        folder.mkdir()
        telemetry.report(lambda: Progress(2, 3))
        assert Exported.of(path.read_text()).values("millisight_run_steps_done", "stage") == {"measure": 2.0}
    assert Exported.of(path.read_text()).value("millisight_run_finished") == 1.0
    assert list(folder.iterdir()) == [path]
    said = capsys.readouterr().err
    assert "failed (FileNotFoundError" in said
    assert f"see that {folder} is there, writable and not full" in said


def test_a_folder_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for wrong in (tmp_path / "nowhere", file):
        with pytest.raises(TelemetryError, match=r"no folder .* to write metrics to; make it, or name the one"):
            Textfile(wrong, "run")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gateway:9091", "'gateway:9091' is no address"),
        ("localhost", "'localhost' is no address"),
        ("", "'' is no address"),
        ("http://", "is no address"),
        ("ftp://host:9091", "is no address"),
        ("http://host:port", "is no address"),
        ("http://host:99999", "is no address"),
        ("http://host:9091?run=1", "is no address"),
        ("http://ho st:9091", "is no address"),
        ("http://host:9091/\n", "is no address"),
        ("http://höst:9091", "is no address"),
        ("http://..:9091", "is no address"),
        ("http://[::1:9091", "is no address"),
        ("http://me:secret@host:9091", "holds a user name"),
    ],
)
def test_a_damaged_address_is_said_at_the_start(text: str, said: str) -> None:
    with pytest.raises(TelemetryError, match=said) as raised:
        gateway_url(text)
    assert "http://HOST:9091" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_addresses_that_are_taken() -> None:
    for text in ("http://host:9091", "https://host/push", "http://[::1]:9091", "http://127.0.0.1"):
        assert gateway_url(f"{text}/") == text
