"""Bundles in BentoML's own store, as a user puts them there: processes, a store of its own, exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from millisight.store import tag_of
from runtime import Bundle, Lineage, Manifest, SizeContract, write_bundle


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Store = Callable[..., Done]


def make(folder: Path, name: str = "Small+one", parameters: int = 0) -> Bundle:
    """A bundle; nothing here opens its graph."""
    manifest = Manifest(
        name=name,
        task="super-resolution",
        scale=2,
        size=SizeContract(multiple=1, minimum=1, tile=(8, 8), overlap=2, scale=2),
        receptive_field=3,
        lineage=Lineage(genotype="g", table="t", weights="w", onnx="o", code_version="0", config="c"),
        method="by hand",
        parameters=parameters,
        created="2026-01-01T00:00:00Z",
    )
    return write_bundle(folder, manifest, {"model.onnx": bytes(range(256)), "card.md": b"# Small\n"})


# The command line in one process, which loads BentoML once: a line of arguments in, a line of results out.
CHILD = """
import contextlib, io, json, sys
import bentoml
from millisight.cli import main
with bentoml.models.create("cats:1"):
    pass
for line in sys.stdin:
    sys.argv = ["millisight", "store", *json.loads(line)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """`millisight store` on a store that holds nothing but a model of cats, which is none of ours."""
    # A home of its own: BentoML wipes a folder in it at each start of a server.
    environment = os.environ | {"BENTOML_HOME": str(tmp_path_factory.mktemp("bentoml")), "BENTOML_DO_NOT_TRACK": "True"}
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", CHILD], env=environment, stdin=pipe, stdout=pipe, text=True)

    def run(*arguments: object) -> Done:
        assert child.stdin is not None
        assert child.stdout is not None
        print(json.dumps([str(argument) for argument in arguments]), file=child.stdin, flush=True)
        return Done(*json.loads(child.stdout.readline()))

    with child:
        yield run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def in_store(store: Store, tag: str) -> Path:
    """Where the store keeps a bundle."""
    home = Path(json.loads(store("list", "--json").stdout)[0]["path"])
    return home.parents[2] / tag.replace(":", "/") / "bundle"


def test_there_and_back_to_the_byte(store: Store, tmp_path: Path) -> None:
    bundle = make(tmp_path / "made")
    tag = tag_of(bundle)
    assert tag == f"small-one:{bundle.digest[:16]}"
    first, again = store("push", bundle.folder), store("push", bundle.folder)
    assert (first.returncode, first.stdout) == (0, f"{tag}  (added)\n"), first.stderr
    assert again.stdout == f"{tag}  (is there already)\n"

    (listed,) = json.loads(store("list", "--json").stdout)
    assert (listed["tag"], listed["task"], listed["scale"]) == (tag, "super-resolution", 2)
    assert (listed["sha256"], listed["default_target"]) == (bundle.digest, "cpu-onnxruntime-fp32")
    assert tag in store("list").stdout

    for what, where in ((tag, "full"), ("small-one", "newest")):
        pulled = store("pull", what, tmp_path / where)
        assert (pulled.returncode, pulled.stdout) == (0, f"{tmp_path / where}  (Small+one)\n"), pulled.stderr
        assert contents(tmp_path / where) == contents(bundle.folder)


def test_a_damaged_bundle_goes_neither_in_nor_out(store: Store, tmp_path: Path) -> None:
    bundle = make(tmp_path / "made", "damaged")
    card = bundle.folder / "card.md"
    card.write_bytes(b"# smalL\n")
    refused = store("push", bundle.folder)
    assert refused.returncode == 1
    assert "card.md" in refused.stderr
    card.write_bytes(b"# Small\n")
    assert store("push", bundle.folder).returncode == 0

    tag = tag_of(bundle)
    stored = in_store(store, tag) / "model.onnx"
    before = stored.read_bytes()
    stored.write_bytes(before[::-1])
    refused = store("pull", tag, tmp_path / "pulled")
    assert refused.returncode == 1
    assert "model.onnx" in refused.stderr
    assert not (tmp_path / "pulled").exists()
    assert store("push", bundle.folder).returncode == 1  # what is there already is verified too
    stored.write_bytes(before)
    assert store("pull", tag, tmp_path / "pulled").returncode == 0


def test_another_whole_bundle_under_a_tag_is_noticed(store: Store, tmp_path: Path) -> None:
    bundle, other = make(tmp_path / "a", "swapped"), make(tmp_path / "b", "swapped", parameters=7)
    assert store("push", bundle.folder).returncode == 0
    stored = in_store(store, tag_of(bundle))
    for path in other.folder.iterdir():
        (stored / path.name).write_bytes(path.read_bytes())
    refused = store("pull", tag_of(bundle), tmp_path / "pulled")
    assert refused.returncode == 1
    assert "another one than was pushed" in refused.stderr
    assert other.digest in refused.stderr


def test_what_is_not_there_or_not_ours_is_refused(store: Store, tmp_path: Path) -> None:
    for tag in ("absent:1", "No Tag"):
        refused = store("pull", tag, tmp_path / "pulled")
        assert refused.returncode == 1
        assert f"has no '{tag}'" in refused.stderr
        assert "millisight store list" in refused.stderr
    bundle = make(tmp_path / "made", "target")
    (tmp_path / "photos").mkdir()
    assert store("push", bundle.folder).returncode == 0
    assert "exists and is not a bundle" in store("pull", tag_of(bundle), tmp_path / "photos").stderr


def test_a_model_of_something_else_is_neither_listed_nor_pulled(store: Store, tmp_path: Path) -> None:
    assert "cats" not in store("list").stdout
    refused = store("pull", "cats:1", tmp_path / "x")
    assert refused.returncode == 1
    assert "cats:1 is a model of something else" in refused.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [("denoise-autoderain-4f6816cc", "denoise-autoderain-4f6816cc"), ("A_b.C+d", "a_b.c-d"), ("_.+", "bundle"),
     ("x" * 62 + "-y", "x" * 62)],
)  # fmt: skip
def test_any_name_becomes_one_that_bentoml_takes(tmp_path: Path, name: str, expected: str) -> None:
    assert tag_of(make(tmp_path / "b", name)).partition(":")[0] == expected
