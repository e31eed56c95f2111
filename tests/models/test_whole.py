import numpy as np
import pytest
import torch

from models import Network, get_space, restore_whole


def build(scale: int) -> Network:
    space = get_space("unet")
    config = space.parse_config({"channels": (8, 8, 8), "blocks": 1, "scale": scale, "unshuffle": 1})
    torch.manual_seed(0)
    return space.build(space.genotype(config, space.reference_picks(config)))


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 12), (13, 7)])
def test_any_size_goes_in_and_its_multiple_comes_out(scale: int, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((3, *size), dtype=np.float32)
    restored = restore_whole(build(scale), image)
    assert restored.shape == (3, scale * size[0], scale * size[1])
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_padding_repeats_the_edge() -> None:
    network = build(2)
    image = np.random.default_rng(0).random((3, 10, 13), dtype=np.float32)
    padded = np.pad(image, ((0, 0), (0, 2), (0, 3)), mode="edge")
    assert np.array_equal(restore_whole(network, image), restore_whole(network, padded)[:, :20, :26])
    zeros = np.pad(image, ((0, 0), (0, 2), (0, 3)))
    assert not np.array_equal(restore_whole(network, image), restore_whole(network, zeros)[:, :20, :26])


def test_an_image_that_is_a_view_is_taken_as_it_looks() -> None:
    network = build(1)
    image = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    flipped = image[:, :, ::-1]
    assert np.array_equal(restore_whole(network, flipped), restore_whole(network, flipped.copy()))


def test_a_broken_network_is_not_repaired_by_clipping() -> None:
    network = build(1)
    next(network.parameters()).data.fill_(float("nan"))
    assert np.isnan(restore_whole(network, np.zeros((3, 8, 8), dtype=np.float32))).any()
