import numpy as np
import pytest
import torch
from torch import nn

from models.upscale import BicubicPhases, phase_kernels
from tasks import imresize


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interior_is_matlabs_bicubic(scale: int) -> None:
    image = np.random.default_rng(scale).random((3, 20, 26), dtype=np.float32)
    enlarge = nn.Sequential(BicubicPhases(3, scale), nn.PixelShuffle(scale))
    ours = enlarge(torch.from_numpy(image)[None])[0].numpy()
    theirs = imresize(image, float(scale))
    assert ours.shape == theirs.shape
    inner = slice(3 * scale, -3 * scale)
    assert np.abs(ours - theirs)[:, inner, inner].max() < 1e-5
    # Phases in the wrong order would be seen.
    assert np.abs(np.roll(ours, 1, axis=2) - theirs)[:, inner, inner].max() > 0.05


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_flat_image_stays_flat_up_to_its_border(scale: int) -> None:
    flat = torch.full((1, 3, 6, 6), 0.7)
    assert torch.allclose(BicubicPhases(3, scale)(flat), torch.tensor(0.7), atol=1e-6)
    assert torch.allclose(phase_kernels(scale).sum(1), torch.ones(scale), atol=1e-6)


def test_it_is_fixed() -> None:
    module = BicubicPhases(3, 2)
    assert list(module.parameters()) == []
    assert module.state_dict() == {}
