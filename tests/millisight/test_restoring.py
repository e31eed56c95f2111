"""`millisight restore`, here and by a service: files, options, exit codes, the line that is printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from millisight.restoring import restore
from runtime import MillisightError
from tests.millisight.client.contract import PNG, Contract, error
from tests.servers import Server, picture_file, write_known_bundles

PIXELS = np.random.default_rng(7).integers(0, 256, (20, 31, 3), dtype=np.uint8)
FILE = picture_file(PIXELS)
TARGET = ("--target", "cpu-onnxruntime-fp32-1t")


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_known_bundles(tmp_path_factory.mktemp("bundles"))[1]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zoo: Path) -> Path:
    """One picture, and a folder with a good, a deeper and a broken one and a text."""
    (tmp_path / "photos/deep").mkdir(parents=True)
    (tmp_path / "more").mkdir()
    for name in ("one.png", "photos/a.png", "photos/deep/b.jpg.png", "two.png", "more/a.bmp"):
        (tmp_path / name).write_bytes(FILE)
    (tmp_path / "photos/broken.png").write_bytes(FILE[:100])
    (tmp_path / "photos/notes.txt").write_text("rain")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLISIGHT_BUNDLES", str(zoo))
    monkeypatch.delenv("MILLISIGHT_API_KEY", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    """As `millisight restore ...` does; errors that its `main` prints with exit code 1 have that code here too."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(restore)
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, MillisightError), result.exception
    return result


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_one_picture_here() -> None:
    done = run("derain", "one.png", "-o", "new/clear.png", *TARGET)
    assert done.exit_code == 0, done.output
    assert np.array_equal(pixels_of(Path("new/clear.png")), PIXELS)
    assert done.stdout.startswith("new/clear.png  (derain-same on cpu-onnxruntime-fp32-1t")
    assert done.stdout.rstrip().endswith(" s)")


def test_one_picture_into_a_folder_and_by_another_format() -> None:
    Path("out").mkdir()
    assert run("super-resolution", "one.png", "-o", "out", "--format", "tiff", "--scale", "2", *TARGET).exit_code == 0
    assert pixels_of(Path("out/one.tif")).shape == (40, 62, 3)
    assert run("derain", "one.png", "-o", "q.jpg", "--quality", "20", *TARGET).exit_code == 0
    assert run("derain", "one.png", "-o", "p.jpg", "--quality", "95", *TARGET).exit_code == 0
    assert Path("q.jpg").stat().st_size < Path("p.jpg").stat().st_size


def test_metadata_is_kept_only_where_asked_for() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(PIXELS).save("exif.jpg", exif=exif)
    for option, there in ((("--metadata", "keep"), True), (("--metadata", "strip"), False), ((), False)):
        assert run("derain", "exif.jpg", "-o", "out.jpg", *option, *TARGET).exit_code == 0
        assert (Image.open("out.jpg").getexif().get(0x010F) == "Maker") is there


def test_many_here_keep_their_folders_and_one_broken_one_stops_no_other() -> None:
    done = run("derain", "photos", "one.png", "photos/a.png", "-o", "out", *TARGET)
    assert done.exit_code == 1
    found = sorted(path.as_posix() for path in Path("out").rglob("*.*"))
    assert found == ["out/a.png", "out/deep/b.jpg.png", "out/one.png"]
    assert np.array_equal(pixels_of(Path("out/a.png")), PIXELS)
    assert "3 of 4 restored by derain-same" in done.stdout
    assert "photos/broken.png" in done.stderr
    assert "left alone, being no pictures by their names: 1" in done.stderr
    # What lies in the output is not read again, also where it is a part of the input.
    Path("photos/broken.png").unlink()
    for _ in range(2):
        again = run("derain", "photos", "-o", "photos/out", *TARGET)
        assert "2 of 2 restored" in again.stdout, again.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("derain", "one.png", "-o", "x.gif"), "'.gif' is not one of"),
        (("derain", "one.png", "-o", "x.png", "--format", "jpeg"), "jpeg"),
        (("derain", "one.png", "-o", "x.png", "--format", "bmp"), "bmp"),
        (("derain", "one.png", "-o", "x.png", "--quality", "50"), "--quality"),
        (("derain", "one.png", "-o", "x.jpg", "--quality", "0"), "--quality"),
        (("derain", "one.png", "-o", "x.png", "--scale", "2"), "--scale"),
        (("derain", "none.png", "-o", "x.png"), "none.png"),
        (("derain", "photos/broken.png", "-o", "x.png"), "photos/broken.png"),
        (("derain", "one.png", "two.png", "-o", "one.png"), "is a file"),
        (("derain", "photos", "photos/deep/../../more", "-o", "out"), "both be written to out/a.png"),
        (("derain", "one.png", "two.png", "-o", "."), "Name another folder"),
        (("derain", "photos/deep/..", "-o", "photos"), "Name another folder"),
        (("derain", "one.png", "-o", "x.png", "--deadline-ms", "5"), "--deadline-ms"),
        (("derain", "one.png", "-o", "x.png", "--api-key-env", "KEY"), "--api-key-env"),
        (("derain", "one.png", "-o", "x.png", "--server", "http://x", *TARGET), "--target"),
        (("derain", "one.png", "-o", "x.png", "--server", "x"), "http://"),
        (("derain", "one.png", "-o", "x.png", "--server", "http://x", "--api-key-env", "NOT_SET"), "NOT_SET"),
        (("derain", "photos", "-o", "out", "--server", "http://x", "--deadline-ms", "5"), "--deadline-ms"),
        (("derain", "one.png", "-o", "x.png", "--server", "http://x", "--deadline-ms", "0"), "--deadline-ms"),
    ],
)
def test_wrong_use_is_exit_code_2_and_says_what(arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert says in " ".join(done.stderr.replace("│", " ").split())


def test_an_empty_folder_is_wrong_use() -> None:
    Path("empty").mkdir()
    done = run("derain", "empty", "-o", "out")
    assert done.exit_code == 2
    assert "no picture" in done.stderr


def test_a_model_by_name_by_role_and_one_that_is_not_there() -> None:
    for name in ("denoise-same", "fast", "balanced", "best"):
        done = run("denoise", "one.png", "-o", "x.png", "--model", name, *TARGET)
        assert done.exit_code == 0, done.output
        assert "denoise-same" in done.stdout
    done = run("denoise", "one.png", "-o", "x.png", "--model", "nope")
    assert done.exit_code == 1
    assert "denoise-same" in str(done.exception)


def test_the_key_of_a_service_does_not_disturb_restoring_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLISIGHT_API_KEY", "secret")
    assert run("derain", "one.png", "-o", "x.png", *TARGET).exit_code == 0


def test_one_picture_by_the_real_service(service: Server) -> None:
    done = run("derain", "one.png", "-o", "new/x.png", "--server", service.url, "--deadline-ms", "30000")
    assert done.exit_code == 0, done.output
    assert np.array_equal(pixels_of(Path("new/x.png")), PIXELS)
    assert done.stdout.startswith(f"new/x.png  (derain-same on cpu-onnxruntime-fp32-1t at {service.url}; ")
    assert "inference" in done.stdout
    done = run("super-resolution", "one.png", "-o", "x.png", "--server", service.url)  # scale 2, as here
    assert "sr-x2" in done.stdout
    broken = run("derain", "photos/broken.png", "-o", "y.png", "--server", service.url)
    assert broken.exit_code == 2  # as it is without a service
    assert "corrupt" in broken.stderr
    assert not Path("y.png").exists()


def test_many_by_the_real_service(service: Server) -> None:
    done = run("derain", "photos", "-o", "out", "--server", service.url)
    assert done.exit_code == 1, done.output
    assert "2 of 3 restored by derain-same on cpu-onnxruntime-fp32-1t" in done.stdout
    assert "one by one" not in done.output
    assert "broken.png" in done.stderr
    assert np.array_equal(pixels_of(Path("out/deep/b.jpg.png")), PIXELS)


def test_every_option_reaches_the_service(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER", "secret")
    options = ("--model", "best", "--format", "webp", "--quality", "7", "--metadata", "keep", "--scale", "4")
    arguments = ("super-resolution", "one.png", "-o", "x.webp", *options, "--server", contract.url)
    done = run(*arguments, "--api-key-env", "OTHER", "--deadline-ms", "9000")
    assert done.exit_code == 0, done.output
    (seen,) = contract.seen
    assert seen.query == {"model": "best", "format": "webp", "quality": "7", "metadata": "keep", "scale": "4"}
    assert seen.headers["authorization"] == "Bearer secret"
    assert "x-deadline-ms" in seen.headers
    assert Path("x.webp").read_bytes() == PNG + FILE
    assert "secret" not in done.output


def test_many_are_a_job_with_the_same_options_and_its_pictures_are_deleted_there(contract: Contract) -> None:
    Path("photos/broken.png").write_bytes(b"bad")
    done = run("derain", "photos", "-o", "out", "--model", "fast", "--server", contract.url)
    assert done.exit_code == 1, done.output
    assert contract.seen[0].query == {"task": "derain", "model": "fast", "format": "png"}
    (work,) = contract.works.values()
    assert [name for name, _ in work.pictures] == ["a.png", "broken.png", "deep/b.jpg.png"]
    assert work.deleted
    assert Path("out/deep/b.jpg.png").read_bytes() == PNG + FILE
    assert "photos/broken.png: It ends too early." in done.stderr
    assert f"2 of 3 restored by one on cpu-x-fp32 at {contract.url}" in done.stdout


def test_jobs_as_large_as_the_service_takes(contract: Contract) -> None:
    contract.most_files = 1
    done = run("derain", "one.png", "two.png", "photos/a.png", "-o", "out", "--server", contract.url)
    assert done.exit_code == 0, done.output
    assert [len(work.pictures) for work in contract.works.values()] == [1, 1, 1]
    assert "3 of 3" in done.stdout


def test_without_jobs_the_pictures_go_one_by_one_and_it_is_said(contract: Contract) -> None:
    contract.jobs = False
    done = run("derain", "one.png", "two.png", "-o", "out", "--server", contract.url)
    assert done.exit_code == 0, done.output
    assert "takes no jobs: sending 2 pictures one by one" in done.stdout + done.stderr
    assert [seen.path for seen in contract.seen[1:3]] == ["/v1/derain", "/v1/derain"]
    assert Path("out/two.png").read_bytes() == PNG + FILE
    contract.forget()
    contract.jobs = False
    contract.script.extend([error(404, "not_found", "No jobs."), error(422, "corrupt", "It ends too early.")])
    done = run("derain", "one.png", "two.png", "-o", "out", "--server", contract.url)
    assert done.exit_code == 1
    assert "one.png: It ends too early." in done.stderr
    assert "1 of 2 restored" in done.stdout


@pytest.mark.parametrize("status", [401, 403, 404, 500, 502])
def test_a_service_that_refuses_all_is_exit_code_1(contract: Contract, status: int) -> None:
    for images in (("one.png", "-o", "x.png"), ("one.png", "two.png", "-o", "out")):
        contract.script.append(error(status, "some_code", "No."))
        done = run("derain", *images, "--server", contract.url)
        assert done.exit_code == 1
        assert "No." in str(done.exception)


def test_nobody_there_is_one_line_and_exit_code_1(folder: Path) -> None:
    command = [sys.executable, "-m", "millisight.cli", "restore", "derain", "one.png", "-o", "x.png"]
    done = subprocess.run(
        [*command, "--server", "http://127.0.0.1:9"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("millisight: http://127.0.0.1:9 cannot be reached")
    assert done.stderr.count("\n") == 1
