import pytest
import torch

from training import LOSSES, TrainingError, get_loss


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_zero_for_equal_images_up_to_the_smooth_foot_and_growing_with_the_error(name: str) -> None:
    clean = torch.rand(2, 3, 8, 8)
    loss = get_loss(name)
    assert float(loss(clean, clean)) == pytest.approx(0.0, abs=1.1e-3)
    values = [float(loss(clean + error, clean)) for error in (0.0, 0.01, 0.1, 0.5)]
    assert values == sorted(values)
    assert values[-1] > 100 * values[0]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradient_points_away_from_the_clean_image_and_is_finite_at_it(name: str) -> None:
    clean = torch.rand(1, 3, 4, 4)
    restored = (clean + torch.where(torch.rand_like(clean) > 0.5, 0.1, -0.1)).requires_grad_()
    (gradient,) = torch.autograd.grad(get_loss(name)(restored, clean), restored)
    assert torch.equal(gradient.sign(), (restored - clean).sign())
    same = clean.clone().requires_grad_()
    (at_zero,) = torch.autograd.grad(get_loss(name)(same, clean), same)
    assert torch.isfinite(at_zero).all()


def test_values_by_hand() -> None:
    restored, clean = torch.tensor([0.3, 0.6]).view(1, 1, 1, 2), torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert float(get_loss("l1")(restored, clean)) == pytest.approx(0.35)
    assert float(get_loss("mse")(restored, clean)) == pytest.approx(0.125)
    assert float(get_loss("charbonnier")(restored, clean)) == pytest.approx(
        ((0.09 + 1e-6) ** 0.5 + (0.16 + 1e-6) ** 0.5) / 2
    )


def test_an_unknown_loss_lists_what_is_known() -> None:
    with pytest.raises(TrainingError, match="unknown loss 'l7'; known: l1, mse, charbonnier"):
        get_loss("l7")
