import pytest
from pydantic import ValidationError

from models.hinas.config import HiNASConfig, sources


@pytest.mark.parametrize(
    ("channels", "factors", "widths"),
    [
        (20, (1, 1.5, 2), [20, 30, 40]),
        (16, (1, 1.5, 2), [16, 24, 32]),
        (10, (1, 1.5, 2), [10, 15, 20]),
        (8, (1, 2, 4), [8, 16, 32]),  # the first version's
    ],
)
def test_widths(channels: int, factors: tuple[float, ...], widths: list[int]) -> None:
    config = HiNASConfig(channels=channels, factors=factors)
    assert [config.width(level) for level in range(3)] == widths
    assert [config.output_width(0, level) for level in range(3)] == [4 * width for width in widths]
    assert config.output_width(-1, 0) == 64


def test_moves_stay_among_the_levels() -> None:
    config = HiNASConfig()
    assert [config.moves(level) for level in range(3)] == [
        ("same", "wider"),
        ("narrower", "same", "wider"),
        ("narrower", "same"),
    ]
    assert HiNASConfig(factors=(1,)).moves(0) == ("same",)


def test_paths_by_hand() -> None:
    config = HiNASConfig()
    assert config.paths(1) == ((0, 0), (0, 1))
    assert config.paths(2) == ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2))
    assert len(config.paths(3)) == 12
    assert HiNASConfig(factors=(1,)).paths(3) == ((0, 0, 0, 0),)


def test_names_of_choices() -> None:
    config = HiNASConfig()
    assert config.edge(2, 1, 0) == "layer2.node1.from0"
    assert HiNASConfig(tied=True).edge(2, 1, 0) == HiNASConfig(tied=True).edge(1, 1, 0) == "node1.from0"
    assert config.route_picks((0, 1, 2, 1)) == (("route0", "wider"), ("route1.1", "wider"), ("route2.2", "narrower"))
    assert config.route_conditions((0, 0)) == (("route0", ("same",)),)
    assert HiNASConfig(factors=(1,)).route_picks((0, 0)) == ()
    assert [len(sources(node)) for node in range(4)] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("layers", {"layers": 0}),
        ("nodes", {"nodes": 0}),
        ("channels", {"channels": 0}),
        ("factors", {"factors": ()}),
        ("factors", {"factors": (0.0, 1.0)}),
        ("factors", {"factors": (1.0, 1.0)}),
        ("factors", {"factors": (2.0, 1.0)}),
        ("different positive widths", {"factors": (0.1, 1.0), "channels": 2}),
        ("different positive widths", {"factors": (1.0, 1.05), "channels": 4}),
        ("decoder", {"decoder": (0, 8)}),
        ("operations", {"operations": ()}),
        ("operations", {"operations": ("skip", "skip")}),
        ("operations", {"operations": ("skip", "none")}),
        ("operations", {"operations": ("conv9x9",)}),
        ("stem_channels", {"stem_channels": 0}),
        ("depth", {"depth": 1}),
    ],
)
def test_configs_out_of_range_are_refused(field: str, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=field):
        HiNASConfig.model_validate(values)
