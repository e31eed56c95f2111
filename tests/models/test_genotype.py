import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Genotype, GenotypeError, UnknownNameError, build_network, content_hash, get_space


def make(seed: int = 0) -> Genotype:
    space = get_space("unet")
    config = space.parse_config({"channels": (16, 24), "blocks": 1})
    candidates = space.candidates(config)
    picks = {name: names[(seed + index) % len(names)] for index, (name, names) in enumerate(candidates.items())}
    return space.genotype(config, picks, dict.fromkeys(picks, 0.5))


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10_000))
def test_json_round_trip(seed: int) -> None:
    genotype = make(seed)
    again = Genotype.from_json(genotype.to_json())
    assert again == genotype
    assert again.id == genotype.id


def test_id_is_pinned() -> None:
    """Ids name files and bundles: one that changes silently orphans them."""
    assert make().id == "642e0790f7dbc16a"


def test_id_covers_what_is_built_and_nothing_else() -> None:
    genotype = make()
    evidence = genotype.model_copy(update={"expected_ms": 3.0, "table": "abc", "seed": 4})
    assert evidence.id == genotype.id
    sure = tuple(pick.model_copy(update={"prob": 0.9}) for pick in genotype.choices)
    assert genotype.model_copy(update={"choices": sure}).id == genotype.id
    assert genotype.model_copy(update={"choices": genotype.choices[::-1]}).id == genotype.id
    assert make(1).id != genotype.id
    assert genotype.model_copy(update={"version": 2}).id != genotype.id
    assert genotype.model_copy(update={"config": {**genotype.config, "blocks": 2}}).id != genotype.id


def test_an_edited_file_is_refused() -> None:
    content = json.loads(make().to_json())
    content["choices"][1]["picked"] = "conv5x5" if content["choices"][1]["picked"] != "conv5x5" else "conv3x3"
    with pytest.raises(GenotypeError, match=r"says id .* its content has id .*: it was edited"):
        Genotype.from_json(json.dumps(content))


def test_evidence_may_be_edited() -> None:
    content = json.loads(make().to_json())
    content["expected_ms"] = 12.5
    assert Genotype.from_json(json.dumps(content)).expected_ms == 12.5


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '"x"', '{"space": "unet"}', "\x00", '{"id": 3}'],
)
def test_what_is_no_genotype_is_refused(text: str) -> None:
    with pytest.raises(GenotypeError, match="not a genotype"):
        Genotype.from_json(text)


@pytest.mark.parametrize("place", ["top", "pick"])
def test_unknown_keys_are_refused(place: str) -> None:
    content = json.loads(make().to_json())
    (content if place == "top" else content["choices"][0])["surprise"] = 1
    with pytest.raises(GenotypeError, match="surprise"):
        Genotype.from_json(json.dumps(content))


def test_a_config_that_is_not_json_is_refused() -> None:
    content = json.loads(make().to_json())
    content["config"]["blocks"] = float("nan")
    with pytest.raises(GenotypeError, match="not a genotype"):
        Genotype.from_json(json.dumps(content))


def test_two_picks_for_one_choice_are_refused() -> None:
    content = json.loads(make().to_json())
    del content["id"]
    content["choices"].append(content["choices"][0] | {"picked": "conv5x5"})
    with pytest.raises(GenotypeError, match="more than one pick for"):
        Genotype.from_json(json.dumps(content))


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    with pytest.raises(GenotypeError, match=r"no genotype at .*a search writes one"):
        Genotype.load(path)
    path.write_text(make().to_json())
    assert Genotype.load(path) == make()
    path.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(GenotypeError, match="not a genotype"):
        Genotype.load(path)


def test_a_genotype_is_built_by_the_space_it_names() -> None:
    assert build_network(make()).scale == 1
    with pytest.raises(UnknownNameError, match=r"unknown space 'ring'; known: clearer, .*unet"):
        build_network(make().model_copy(update={"space": "ring"}))


def test_content_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": [2, 3]}) == content_hash({"b": [2, 3], "a": 1})
    assert content_hash({"a": 1, "b": [3, 2]}) != content_hash({"a": 1, "b": [2, 3]})
