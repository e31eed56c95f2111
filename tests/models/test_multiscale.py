from typing import Any

import pytest
import torch
from torch import nn

from models import GenotypeError, get_space, num_parameters, operation_cost
from models.multiscale import (
    Bottleneck,
    StagePlan,
    Transition,
    TrunkConfig,
    column_choices,
    module_carriers,
    module_reference,
    module_terms,
    plan_stages,
)


def test_stages_of_the_published_sizes() -> None:
    assert list(plan_stages(TrunkConfig())) == [
        StagePlan("stage2", 2, (128,)),
        StagePlan("stage3", 3, (32, 64)),
        StagePlan("stage4", 4, (32, 64, 128)),
    ]


def test_columns_are_called_by_stage_and_number() -> None:
    columns = dict(column_choices(TrunkConfig(stages=(2, 2, 3), modules=2)))
    assert columns == {
        "stage2.module0": ("parallel2", "fusion2"),
        "stage2.module1": ("parallel2", "fusion2"),
        "stage3.module0": ("parallel2", "fusion2"),
        "stage3.module1": ("parallel2", "fusion2"),
        "stage4.module0": ("parallel3", "fusion3"),
        "stage4.module1": ("parallel3", "fusion3"),
    }


def test_a_bottleneck_by_hand() -> None:
    def counted(i: int, o: int, kernel: int) -> int:
        return i * o * kernel**2 + 2 * o

    first = Bottleneck(3, 32, 128)
    assert num_parameters(first) == counted(3, 32, 1) + counted(32, 32, 3) + counted(32, 128, 1) + counted(3, 128, 1)
    second = Bottleneck(128, 32, 128)
    assert num_parameters(second) == counted(128, 32, 1) + counted(32, 32, 3) + counted(32, 128, 1)
    for parameter in second.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, 128, 4, 4)
    assert torch.equal(second.eval()(x), x.relu())


def test_a_transition_keeps_scales_and_adds_one_from_the_coarsest() -> None:
    first = Transition((128,), (32, 64)).eval()
    found = first([torch.rand(1, 128, 8, 8)])
    assert [tuple(scale.shape) for scale in found] == [(1, 32, 8, 8), (1, 64, 4, 4)]
    assert num_parameters(first) == (9 * 128 * 32 + 64) + (9 * 128 * 64 + 128)
    later = Transition((32, 64), (32, 64, 128)).eval()
    grown = later(found)
    assert [kept is scale for kept, scale in zip(grown, found, strict=False)] == [True, True]
    assert grown[2].shape == (1, 128, 2, 2)
    assert num_parameters(later) == 9 * 64 * 128 + 256
    assert len(found) == 2
    # The new scale comes from the coarsest one alone.
    assert torch.equal(later([found[0] + 1, found[1]])[2], grown[2])
    assert not torch.equal(later([found[0], found[1] + 1])[2], grown[2])
    assert num_parameters(Transition((32, 64), (32, 64))) == 0


@pytest.mark.parametrize("name", ["clearer", "manas"])
def test_the_trunk_starts_small_and_normalised(name: str) -> None:
    space = get_space(name)
    config = space.parse_config({"channels": 16, "stages": (2, 3), "modules": 1})
    torch.manual_seed(0)
    network = space.build(space.genotype(config, space.reference_picks(config)))
    trunk = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and ".attention." not in n}
    weights = torch.cat([m.weight.detach().flatten() for m in trunk.values()])
    assert abs(float(weights.std()) / 0.001 - 1) < 0.02
    assert abs(float(weights.mean())) < 1e-4
    assert all(m.bias is None for m in trunk.values())
    others = [m for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and ".attention." in n]
    assert bool(others) is (name == "manas")
    # A gate without normalisation that started as small as the trunk would hardly learn.
    assert all(float(m.weight.detach().std()) > 0.01 for m in others)


@pytest.mark.parametrize(
    "values",
    [
        {"channels": 0},
        {"stages": ()},
        {"stages": (3,)},
        {"stages": (2, 4)},
        {"stages": (2, 3, 2)},
        {"stages": (2, 3, 4, 5)},
        {"modules": 0},
        {"bottlenecks": 0},
        {"expansion": 0},
        {"scale": 3},
        {"unshuffle": 2},
    ],
)
@pytest.mark.parametrize("name", ["clearer", "manas"])
def test_configs_out_of_range_are_refused(name: str, values: dict[str, Any]) -> None:
    with pytest.raises(GenotypeError, match=f"config of space {name}.*(?s:.*){next(iter(values))}"):
        get_space(name).parse_config(values)


@pytest.mark.parametrize(
    ("stages", "multiple"), [((2,), 2), ((2, 2), 2), ((2, 3), 4), ((2, 3, 4), 8), ((2, 3, 4, 4), 8)]
)
def test_multiple_is_what_the_network_needs(stages: tuple[int, ...], multiple: int) -> None:
    space = get_space("clearer")
    config = space.parse_config({"channels": 4, "stages": stages, "modules": 2, "bottlenecks": 1})
    network = space.build(space.genotype(config, space.reference_picks(config))).eval()
    assert network.multiple == multiple
    assert network(torch.rand(1, 3, multiple, 3 * multiple)).shape == (1, 3, multiple, 3 * multiple)
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 3, multiple, 3 * multiple + 1))


def test_a_module_is_priced_whole_where_its_finest_scale_runs() -> None:
    terms = module_terms(TrunkConfig(modules=1))
    assert [(str(term.key), term.when) for term in terms] == [
        (f"{name}{n} 32->32 @1/1", ((f"stage{n}.module0", (f"{name}{n}",)),))
        for n in (2, 3, 4)
        for name in ("parallel", "fusion")
    ]


def test_six_carriers_price_the_published_sizes() -> None:
    config = TrunkConfig()
    carriers = module_carriers(config)
    assert {carrier.keys for carrier in carriers} == {(term.key,) for term in module_terms(config)}
    assert [carrier.branches for carrier in carriers] == [2, 2, 3, 3, 4, 4]
    assert len(module_carriers(TrunkConfig(stages=(2, 2)))) == 2


def test_complexity_share_of_parallel_modules() -> None:
    """The paper's constant is 0.7 : 0.3; counted anew the share is 0.68, and 0.82 to 0.67 stage by stage."""
    costs = {term.key.operation: operation_cost(term.key, 64, 64) for term in module_terms(TrunkConfig())}
    parallel = [costs[f"parallel{n}"] for n in (2, 3, 4)]
    fusion = [costs[f"fusion{n}"] for n in (2, 3, 4)]
    shares = [p.parameters / (p.parameters + f.parameters) for p, f in zip(parallel, fusion, strict=True)]
    assert [round(share, 2) for share in shares] == [0.82, 0.72, 0.67]
    whole = sum(p.parameters for p in parallel)
    assert round(whole / (whole + sum(f.parameters for f in fusion)), 2) == 0.68


def test_the_reference_takes_parallel_and_fusion_by_turns() -> None:
    picks = list(module_reference(TrunkConfig(stages=(2, 3), modules=3)).values())
    assert picks == ["parallel2", "fusion2", "parallel2", "fusion3", "parallel3", "fusion3"]
