"""What the methods' spaces hold at the published sizes, against counts of the papers and their code."""

import functools
import math

import pytest

from search import METHODS, Facts, SearchError, get_method, method_facts, paper_task
from tasks import get_task


@functools.cache
def facts(name: str) -> Facts:
    return method_facts(get_method(name))


def test_autoderain_picks_two_convolutions_and_a_gate_per_block() -> None:
    found = facts("autoderain")
    assert (found.task, found.preset) == ("derain", "paper")
    # Three scales of two blocks, down and up again: 10 blocks of 5 x 5 x 2.
    assert found.choices == {"operation": (30, 5)}
    assert found.networks == 50**10


def test_hinas_has_one_choice_per_edge_of_a_layer_and_per_route() -> None:
    found = facts("hinas")
    assert found.task == "denoise"
    # The code's alpha is 3 x 14 x 7, its beta 6 x 3 (impossible moves are masked there and left out here).
    assert found.choices == {"route": (6, 3), "operation": (3 * 14, 7)}
    cell = math.prod(math.comb(2 + node, 2) * 6**2 for node in range(4))
    assert found.networks == 12 * cell**3  # 12 ways from the narrowest level through three layers
    # It is searched at half the channels: weights of its supernet are fewer than if it were not.
    enlarging = method_facts(get_method("hinas"), task=get_task("super-resolution", 4))
    assert enlarging.choices == {"route": (3, 3), "operation": (2 * 9, 7)}
    assert enlarging.task == "super-resolution x4"


def test_manas_adds_gates_to_clearers_trunk() -> None:
    found = facts("manas")
    assert found.choices == {"module": (12, 2), "operation": (27, 9)}
    assert found.networks == 2**12 * 9**27
    assert found.supernet_parameters > facts("clearer").supernet_parameters
    assert found.smallest > facts("clearer").smallest


def test_clearer_is_as_large_as_its_released_code() -> None:
    found = facts("clearer")
    assert found.networks == 4096
    assert found.choices == {"module": (12, 2)}
    # 12.56 M, 4.36 M (all fusion) to 8.72 M (all parallel) with one channel; three colours have 384 weights more.
    assert found.supernet_parameters == 12_558_144 + 384
    assert (found.smallest, found.largest) == (4_361_536 + 384, 8_723_264 + 384)


def test_trilevel_is_a_tree_of_55_exits() -> None:
    found = facts("trilevel")
    assert found.task == "super-resolution x4"
    assert found.choices == {"exit": (1, 55), "operation": (35 * 5, 4), "width": (35 * 4, 5)}
    cell = 4**5 * 5**4
    # C(i + j, i) nodes behind i further cells and j up-slots.
    assert found.networks == sum(math.comb(i + j, i) * cell ** (1 + i) for i in range(5) for j in range(3))
    # Weights are shared by no two paths, so the supernet dwarfs its networks.
    assert found.supernet_parameters > 5 * found.largest


@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_the_smallest_is_smaller_than_the_largest_and_both_fit_the_supernet(name: str) -> None:
    found = facts(name)
    assert 0 < found.smallest < found.largest
    # HiNAS searches at half the channels of what it derives.
    assert name == "hinas" or found.largest < found.supernet_parameters


def test_another_preset_is_another_space() -> None:
    small = method_facts(get_method("clearer"), "smoke", get_task("derain"))
    assert (small.preset, small.task) == ("smoke", "derain")
    assert small.networks < facts("clearer").networks
    with pytest.raises(SearchError, match="unknown preset 'huge'"):
        method_facts(get_method("clearer"), "huge")


def test_the_first_task_of_the_paper_at_its_largest_scale() -> None:
    found = {method.name: (paper_task(method).name, paper_task(method).scale) for method in METHODS}
    assert found == {
        "autoderain": ("derain", 1),
        "hinas": ("denoise", 1),
        "manas": ("derain", 1),
        "clearer": ("denoise", 1),
        "trilevel": ("super-resolution", 4),
    }
