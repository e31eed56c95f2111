import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from tasks import ssim as metric
from training import TrainingError
from training.ssim import ssim


def pictures(height: int, width: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures (1, 3, H, W) of 8-bit values: smooth waves, and the same with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    clean = np.stack([0.5 + 0.4 * np.sin(x / (4 + c) + y / (7 - c)) for c in range(3)])
    noisy = np.clip(clean + noise * rng.standard_normal(clean.shape), 0, 1)
    first, second = (torch.from_numpy(np.round(p * 255) / 255).float()[None] for p in (noisy, clean))
    return first, second


@pytest.mark.parametrize(("height", "width"), [(11, 11), (24, 31), (64, 48)])
@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
def test_it_agrees_with_the_metric_and_with_scikit_image(height: int, width: int, noise: float) -> None:
    """To 1e-5: float32 here, float64 there."""
    noisy, clean = pictures(height, width, noise)
    ours = float(ssim(noisy, clean))
    assert ours == pytest.approx(metric(noisy[0].numpy(), clean[0].numpy(), channel="rgb", border=0), abs=1e-5)
    _, full = structural_similarity(
        noisy[0].double().numpy(), clean[0].double().numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, channel_axis=0, full=True,
    )  # fmt: skip
    assert ours == pytest.approx(full[:, 5 : height - 5, 5 : width - 5].mean(), abs=1e-5)
    # Planted fault: values on another scale than the data range of 1.
    assert float(ssim(noisy * 255, clean * 255)) != pytest.approx(ours, abs=1e-5)


def test_equal_pictures_score_one_and_a_batch_scores_its_mean() -> None:
    noisy, clean = pictures(20, 20, 0.2)
    assert float(ssim(clean, clean)) == pytest.approx(1.0, abs=1e-6)
    both = ssim(torch.cat([noisy, clean]), torch.cat([clean, clean]))
    assert float(both) == pytest.approx((float(ssim(noisy, clean)) + 1) / 2, abs=1e-6)


def test_channels_are_windowed_apart() -> None:
    noisy, clean = pictures(20, 20, 0.2)
    apart = [float(ssim(noisy[:, c : c + 1], clean[:, c : c + 1])) for c in range(3)]
    assert float(ssim(noisy, clean)) == pytest.approx(np.mean(apart), abs=1e-6)


def test_memory_layout_does_not_matter() -> None:
    noisy, clean = pictures(20, 24, 0.2)
    last = ssim(noisy.to(memory_format=torch.channels_last), clean.to(memory_format=torch.channels_last))
    assert float(last) == pytest.approx(float(ssim(noisy, clean)), abs=1e-6)


def test_the_gradient_is_the_derivative() -> None:
    noisy, clean = (picture[:, :1].double() for picture in pictures(13, 12, 0.2))
    assert torch.autograd.gradcheck(lambda p: ssim(p, clean), noisy.requires_grad_())


def test_patches_below_the_window_are_refused() -> None:
    with pytest.raises(TrainingError, match="at least 11x11 pixels, got 10x32; train on larger patches"):
        ssim(torch.rand(1, 3, 10, 32), torch.rand(1, 3, 10, 32))
