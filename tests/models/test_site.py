import pytest
from torch import nn

from models import GenotypeError
from models.mixed import MixedOperation, WidthMask
from models.site import DerivedSite, SupernetSite


def test_a_supernet_holds_every_candidate_and_remembers_its_choices_in_order() -> None:
    site = SupernetSite()
    width = site.width("b.width", (8, 16))
    layer = site.operation("b.conv", ("conv3x3", "conv5x5"), 16, 16)
    assert width.channels == 16
    assert isinstance(width.mask, WidthMask)
    assert isinstance(layer, MixedOperation)
    assert list(layer.candidates) == ["conv3x3", "conv5x5"]
    assert {name: choice.candidates for name, choice in site.choices.items()} == {
        "b.width": ("8", "16"),
        "b.conv": ("conv3x3", "conv5x5"),
    }


def test_a_single_candidate_is_no_choice() -> None:
    site = SupernetSite()
    assert isinstance(site.operation("a", ("conv3x3",), 8, 8), nn.Conv2d)
    assert isinstance(site.width("w", (8,)).mask, nn.Identity)
    assert site.choices == {}


def test_two_choices_of_one_name_are_refused() -> None:
    site = SupernetSite()
    site.operation("a", ("conv3x3", "conv5x5"), 8, 8)
    with pytest.raises(ValueError, match="two choices are called a"):
        site.operation("a", ("conv3x3", "conv5x5"), 8, 8)


def test_a_derived_site_builds_the_picked_layer_alone() -> None:
    site = DerivedSite({"a": "conv5x5", "w": "8"})
    layer = site.operation("a", ("conv3x3", "conv5x5"), 8, 16)
    assert isinstance(layer, nn.Conv2d)
    assert layer.kernel_size == (5, 5)
    assert site.width("w", (8, 16)).channels == 8
    site.finish()


@pytest.mark.parametrize("picks", [{}, {"a": "conv7x7"}])
def test_a_missing_or_unknown_pick_names_the_choice_and_what_is_allowed(picks: dict[str, str]) -> None:
    with pytest.raises(GenotypeError, match=r"choice a: picked .*allowed: conv3x3, conv5x5"):
        DerivedSite(picks).operation("a", ("conv3x3", "conv5x5"), 8, 8)


def test_a_pick_that_nobody_asked_for_is_refused() -> None:
    site = DerivedSite({"a": "conv3x3", "ghost": "conv3x3"})
    site.operation("a", ("conv3x3", "conv5x5"), 8, 8)
    with pytest.raises(GenotypeError, match="does not have: ghost"):
        site.finish()
