import os
from pathlib import Path

import pytest

from runtime.host import _cgroup_quota, describe_host, package_versions, usable_cores


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = {"proc/self/cgroup": "0::/\n"}
V1 = {"proc/self/cgroup": "5:memory:/x\n3:cpu,cpuacct:/docker/abc\n"}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        (V2, None),
        (V2 | {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (V2 | {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (V2 | {"sys/fs/cgroup/cpu.max": "rubbish\n"}, None),
        (V2 | {"sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
        # the tightest of the cgroup and its ancestors counts
        (
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/cpu.max": "100000 100000\n",
                "sys/fs/cgroup/pod/box/cpu.max": "400000 100000\n",
            },
            1.0,
        ),
        # the mount of version 2 beside version 1
        (V2 | {"sys/fs/cgroup/unified/cpu.max": "50000 100000\n"}, 0.5),
        # a cgroup outside of the namespace: the mount itself is what can be seen
        ({"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        (
            V1
            | {
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        # inside a container the host's path is missing, the mount is the container's own cgroup
        (
            V1
            | {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        (
            V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
    ],
)
def test_the_quota_is_read_from_both_versions(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert _cgroup_quota(_write(tmp_path, files)) == quota


@pytest.mark.parametrize(("limit", "cores"), [("10000 100000", 1), ("100000 100000", 1), ("100001 100000", 2)])
def test_a_quota_is_rounded_up_and_at_least_one(tmp_path: Path, limit: str, cores: int) -> None:
    root = _write(tmp_path, V2 | {"sys/fs/cgroup/cpu.max": limit})
    assert usable_cores(root) == min(cores, len(os.sched_getaffinity(0)))


def test_a_generous_quota_does_not_exceed_the_affinity(tmp_path: Path) -> None:
    root = _write(tmp_path, V2 | {"sys/fs/cgroup/cpu.max": "99900000 100000"})
    assert usable_cores(root) == len(os.sched_getaffinity(0))


def test_the_host_is_described(tmp_path: Path) -> None:
    root = _write(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\n"})
    host = describe_host(root)
    assert host.device == "Example CPU @ 2 GHz"
    assert host.cores >= 1
    assert {"numpy", "pillow"} <= set(host.packages)
    assert type(host).model_validate_json(host.model_dump_json()) == host


def test_an_unnamed_processor_still_has_a_name(tmp_path: Path) -> None:
    assert describe_host(tmp_path).device


def test_absent_packages_are_left_out() -> None:
    assert package_versions(("numpy", "no-such-package-of-ours")).keys() == {"numpy"}
