import math
from itertools import combinations

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from training import LOSS_TERMS, LossTerm, Objective, ObjectiveTerms, TrainingError, get_loss, parse_objective
from training.losses import LOG_SSIM_FLOOR, disagreement, log_ssim, total_variation
from training.ssim import ssim

PIXELWISE = ("l1", "mse", "charbonnier")
COMPARING = (*PIXELWISE, "ssim", "log_ssim")


def term(name: str, weight: float = 1.0, start: float = 0.0) -> LossTerm:
    return LossTerm(name=name, weight=weight, start=start)


def objective(*terms: LossTerm) -> Objective:
    return Objective(terms)


def value(name: str, restored: Tensor, clean: Tensor, versions: int = 1) -> float:
    return float(LOSS_TERMS[name](restored, clean, versions))


def test_every_term_is_tested_here() -> None:
    assert set(LOSS_TERMS) == {*COMPARING, "tv", "internal"}


@pytest.mark.parametrize("name", COMPARING)
def test_zero_for_equal_images_up_to_the_smooth_foot_and_growing_with_the_error(name: str) -> None:
    torch.manual_seed(0)
    clean, noise = torch.rand(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    assert value(name, clean, clean) == pytest.approx(0.0, abs=1.1e-3)
    values = [value(name, clean + error * noise, clean) for error in (0.0, 0.01, 0.1, 0.5)]
    assert values == sorted(values)
    assert values[-1] > 100 * values[0]


@pytest.mark.parametrize("name", PIXELWISE)
def test_gradient_points_away_from_the_clean_image(name: str) -> None:
    clean = torch.rand(1, 3, 4, 4)
    restored = (clean + torch.where(torch.rand_like(clean) > 0.5, 0.1, -0.1)).requires_grad_()
    (gradient,) = torch.autograd.grad(get_loss(name)(restored, clean), restored)
    assert torch.equal(gradient.sign(), (restored - clean).sign())


@pytest.mark.parametrize("name", COMPARING)
def test_a_step_against_the_gradient_makes_it_smaller(name: str) -> None:
    torch.manual_seed(0)
    clean = torch.rand(1, 3, 16, 16)
    restored = (clean + 0.1 * torch.randn_like(clean)).requires_grad_()
    loss = get_loss(name)(restored, clean)
    (gradient,) = torch.autograd.grad(loss, restored)
    with torch.no_grad():
        assert float(get_loss(name)(restored - 0.01 * gradient / gradient.abs().max(), clean)) < float(loss)


@pytest.mark.parametrize("name", sorted(LOSS_TERMS))
def test_gradients_are_finite_at_the_clean_image_and_far_from_it(name: str) -> None:
    clean = torch.rand(2, 3, 12, 12)
    for start in (clean, 1 - clean, torch.zeros_like(clean), 100 * clean):
        restored = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(LOSS_TERMS[name](restored, clean, 2), restored)
        assert torch.isfinite(gradient).all()


def test_values_by_hand() -> None:
    restored, clean = torch.tensor([0.3, 0.6]).view(1, 1, 1, 2), torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert float(get_loss("l1")(restored, clean)) == pytest.approx(0.35)
    assert float(get_loss("mse")(restored, clean)) == pytest.approx(0.125)
    assert float(get_loss("charbonnier")(restored, clean)) == pytest.approx(
        ((0.09 + 1e-6) ** 0.5 + (0.16 + 1e-6) ** 0.5) / 2
    )


def test_similarity_terms_follow_from_the_similarity() -> None:
    torch.manual_seed(0)
    clean = torch.rand(1, 3, 16, 16)
    restored = clean + 0.2 * torch.randn_like(clean)
    similarity = float(ssim(restored, clean))
    assert value("ssim", restored, clean) == pytest.approx(1 - similarity)
    assert value("log_ssim", restored, clean) == pytest.approx(-math.log10(similarity), rel=1e-5)


def test_the_logarithm_goes_on_where_there_is_none() -> None:
    """At a negative similarity: finite, above every value that has a logarithm, and still pulled upwards."""
    torch.manual_seed(0)
    clean = torch.rand(1, 3, 16, 16)
    opposite = (1 - clean).requires_grad_()
    assert float(ssim(opposite, clean).detach()) < 0
    loss = log_ssim(opposite, clean)
    assert -math.log10(LOG_SSIM_FLOOR) < float(loss.detach()) < math.inf
    (pull,) = torch.autograd.grad(loss, opposite)
    with torch.no_grad():
        assert float(ssim(opposite - 0.01 * pull / pull.abs().max(), clean)) > float(ssim(opposite, clean))
    # Planted fault: with a clamp alone there is no gradient.
    clamped = -torch.log10(ssim(opposite, clean).clamp_min(LOG_SSIM_FLOOR))
    (nothing,) = torch.autograd.grad(clamped, opposite)
    assert not nothing.any()


def test_total_variation_by_hand() -> None:
    picture = torch.tensor([[0.0, 0.5, 0.5], [0.25, 1.0, 0.0]]).view(1, 1, 2, 3)
    rows, columns = (0.25 + 0.5 + 0.5) / 3, (0.5 + 0.0 + 0.75 + 1.0) / 4
    assert float(total_variation(picture)) == pytest.approx(rows + columns)
    assert float(total_variation(torch.full((2, 3, 8, 8), 0.7))) == 0.0


def test_disagreement_by_hand() -> None:
    outputs = torch.rand(2 * 3, 3, 5, 5)
    expected = [
        sum(float(((a - b) ** 2).mean()) for a, b in combinations(background, 2))
        for background in (outputs[:3], outputs[3:])
    ]
    found = float(disagreement(outputs, 3))
    assert found == pytest.approx(sum(expected) / 2, rel=1e-5)
    # Planted fault: the other layout, all backgrounds of one version first.
    assert float(disagreement(outputs[[0, 3, 1, 4, 2, 5]], 3)) != pytest.approx(found, rel=1e-3)
    assert float(disagreement(outputs[:1].expand(3, -1, -1, -1), 3)) == 0.0
    assert float(disagreement(outputs, 1)) == 0.0


def test_an_objective_is_the_weighted_sum() -> None:
    """The denoising search of HiNAS: (MSE + 0.5 * (-log10 SSIM)) / 2."""
    torch.manual_seed(0)
    clean = torch.rand(2, 3, 16, 16)
    restored = clean + 0.1 * torch.randn_like(clean)
    both = objective(term("mse", 0.5), term("log_ssim", 0.25))
    expected = (value("mse", restored, clean) - 0.5 * math.log10(float(ssim(restored, clean)))) / 2
    assert float(both(restored, clean)) == pytest.approx(expected, rel=1e-5)


def test_terms_join_in_at_their_start() -> None:
    clean, restored = torch.zeros(4, 1, 2, 2), torch.rand(4, 1, 2, 2)
    late = objective(term("mse"), term("internal", 2.0, start=0.25))
    alone, both = value("mse", restored, clean), value("mse", restored, clean) + 2 * float(disagreement(restored, 2))
    for progress, expected in ((0.0, alone), (0.24, alone), (0.25, both), (1.0, both)):
        assert float(late(restored, clean, versions=2, progress=progress)) == pytest.approx(expected)
    assert alone != pytest.approx(both)
    assert float(late(restored, clean)) == pytest.approx(alone)  # one version has nothing to disagree with


def test_one_term_of_weight_one_is_that_loss_to_the_bit() -> None:
    clean, restored = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    for name in PIXELWISE:
        assert torch.equal(get_loss(name)(restored, clean), LOSS_TERMS[name](restored, clean, 1))


def test_an_unknown_loss_lists_what_is_known() -> None:
    known = "known: l1, mse, charbonnier, ssim, log_ssim, tv, internal"
    with pytest.raises(TrainingError, match=f"unknown loss 'l7'; {known}"):
        get_loss("l7")
    with pytest.raises(TrainingError, match="unknown loss 'vgg'"):
        objective(term("mse"), term("vgg"))


@pytest.mark.parametrize(
    ("terms", "got"),
    [
        ((), "no term"),
        (("tv",), "tv from 0"),
        (("internal", "tv"), "internal from 0, tv from 0"),
        (("mse@0.5", "tv"), "mse from 0.5, tv from 0"),
    ],
)
def test_an_objective_that_a_flat_picture_satisfies_is_refused(terms: tuple[str, ...], got: str) -> None:
    parts = [name.partition("@") for name in terms]
    with pytest.raises(TrainingError, match=f"compares with the clean picture from the start .*, got {got}$"):
        parse_objective([term(name, start=float(start or 0)) for name, _, start in parts])


@pytest.mark.parametrize("wrong", [{"weight": 0}, {"weight": -1}, {"weight": "inf"}, {"start": 1}, {"start": -0.1}])
def test_terms_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LossTerm.model_validate({"name": "mse", **wrong})


def test_batches_that_do_not_fit_are_refused() -> None:
    loss = get_loss("mse")
    with pytest.raises(TrainingError, match=r"made \(2, 3, 8, 8\) of what should be \(2, 3, 16, 16\)"):
        loss(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16))
    for versions in (0, 3):
        with pytest.raises(TrainingError, match=f"a batch of 4 patches does not hold {versions} versions"):
            loss(torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8), versions=versions)


class Settings(BaseModel):
    loss: ObjectiveTerms = (LossTerm(name="l1"),)


def test_a_setting_takes_a_name_or_terms_and_comes_back_from_json() -> None:
    assert Settings.model_validate({"loss": "mse"}).loss == (term("mse"),)
    terms = [{"name": "mse", "weight": 0.5}, {"name": "tv", "weight": 1e-4, "start": 0.5}]
    settings = Settings.model_validate({"loss": terms})
    assert settings.loss == (term("mse", 0.5), term("tv", 1e-4, 0.5))
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert Settings.model_validate(settings.model_dump()) == settings
    with pytest.raises(TrainingError, match="unknown loss 'l7'"):
        Settings.model_validate({"loss": "l7"})
    with pytest.raises(ValidationError, match="loss"):
        Settings.model_validate({"loss": [{"name": "mse", "wieght": 2}]})
