"""Parallel or fusion, column by column, in a multi-scale trunk: the CLEARER space.

Gou et al., "CLEARER: Multi-Scale Neural Architecture Search for Image Restoration", NeurIPS 2020. The trunk
(`models.multiscale`) and its modules (`models.operations.scales`) are those of the released code; with one colour
channel its supernet has 12,558,144 parameters and its derived networks 4,361,536 (all fusion) to 8,723,264 (all
parallel), with our three 384 more. There is no global residual, as in the paper; `residual=True` adds one.

Not taken over: the released parallel module overwrites its input list, so that in the supernet fusion acts on its
result; networks derived from it compute something else.
"""

from collections.abc import Mapping
from typing import Any

from models.cost import Carrier, CostTerm
from models.diagram import Diagram
from models.multiscale import (
    MultiScaleNetwork,
    TrunkConfig,
    module_carriers,
    module_reference,
    module_terms,
)
from models.multiscale_diagram import trunk_diagram
from models.network import Network
from models.site import Site
from models.space import Space


class ClearerConfig(TrunkConfig):
    """Sizes; nothing beyond the trunk's."""


class ClearerSpace(Space[ClearerConfig]):
    """Twelve columns at the published sizes, each a parallel or a fusion module: 4096 networks."""

    name = "clearer"
    version = 1
    summary = "parallel scales: each column keeps them apart or fuses them"
    examples = (
        {"channels": 8, "stages": (2, 3), "modules": 2, "bottlenecks": 1, "expansion": 2, "scale": 1},
        {"channels": 4, "stages": (2, 3, 4), "modules": 1, "expansion": 1, "scale": 1, "residual": True},
        {"channels": 8, "stages": (2,), "modules": 3, "bottlenecks": 1, "scale": 2},
        {"channels": 8, "stages": (2, 2), "modules": 1, "bottlenecks": 1, "scale": 4},
    )
    config_type = ClearerConfig

    def network(self, config: ClearerConfig, site: Site) -> Network:
        """Build against a site; see `Space`."""
        return MultiScaleNetwork(config, site)

    def cost_terms(self, config: ClearerConfig) -> tuple[CostTerm, ...]:
        """Two rows per number of scales: the modules as wholes."""
        return module_terms(config)

    def carriers(self, config: ClearerConfig) -> tuple[Carrier, ...]:
        """The modules alone."""
        return module_carriers(config)

    def reference_picks(self, config: ClearerConfig) -> dict[str, str]:
        """Parallel and fusion by turns."""
        return module_reference(config)

    def diagram(self, config: ClearerConfig, picks: Mapping[str, str]) -> Diagram:
        """Scales and columns."""
        return trunk_diagram(config, picks)

    def task_config(self, scale: int) -> dict[str, Any]:
        """The scale alone."""
        return {"scale": scale}


SPACE = ClearerSpace()
