from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.jobs.blobs import FileBlobs

FILES = 24


def filled(folder: Path, name: str) -> Path:
    job = folder / name
    job.mkdir(parents=True)
    for number in range(FILES):
        (job / f"{number}.input").write_bytes(b"x")
    return job


def test_a_job_is_removed_whole_while_others_delete_its_files(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        for round_number in range(150):
            name = f"job{round_number}"
            job = filled(tmp_path, name)
            others = [
                pool.submit(lambda numbers=numbers, name=name: [blobs.delete(name, f"{n}.input") for n in numbers])
                for numbers in (range(FILES), range(FILES - 1, -1, -1))
            ]
            whole = pool.submit(blobs.delete_job, name)
            for future in (*others, whole):
                future.result()
            assert not job.exists()
    blobs.delete_job("never there")
