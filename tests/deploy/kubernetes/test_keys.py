"""The Secret of components/api-keys, changed under the service as the kubelet changes it."""

from __future__ import annotations

from pathlib import Path

from serving.guard.keys import KeyRing, new_key, write_keys
from tests.deploy.kubernetes.manifests import overlay, pod_of


def put(volume: Path, version: str, *entries: object) -> None:
    """A mounted Secret: a folder a version, a link to the one in force, and links through it; one rename swaps all."""
    (volume / version).mkdir()
    write_keys(volume / version / "keys.json", entries)  # type: ignore[arg-type]
    (volume / "..next").symlink_to(version)
    (volume / "..next").replace(volume / "..data")
    if not (volume / "keys.json").is_symlink():
        (volume / "keys.json").symlink_to("..data/keys.json")


def test_a_key_that_is_taken_out_of_the_secret_is_refused_without_a_restart(tmp_path: Path) -> None:
    (mount,) = [
        mount for mount in pod_of(overlay("cpu", ["api-keys"])).container["volumeMounts"] if mount["name"] == "keys"
    ]
    # Mounted as a file of its own (subPath) it would never change.
    assert "subPath" not in mount
    now = 0.0
    (old, entry), (new, other) = new_key("old"), new_key("new")
    put(tmp_path, "..1", entry)
    ring = KeyRing(tmp_path / "keys.json", clock=lambda: now)
    assert ring.find(old) is not None
    put(tmp_path, "..2", other)
    now = 5.0
    assert ring.find(old) is None
    assert ring.find(new) is not None
