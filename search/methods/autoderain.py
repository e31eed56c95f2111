"""AutoDerain / MDARTS: one path at a time, moved by a proximal step.

Only the abstract is public: a U-shaped derainer of residual squeeze-excitation blocks; the search picks the convolution
type and whether squeeze-excitation is used; architecture parameters follow a proximal gradient; searching needs the
memory of training one network. The search loop follows NASP (Yao et al., AAAI 2020), which it builds on, with the
gradient of inactive candidates recomputed in backward. Everything else is our reconstruction.
"""

from models import CostTerm
from search.complexity import Complexity, ParameterProximal
from search.costs import static_prices
from search.methods.method import Method, Searched
from search.presets import Preset, paper_preset, shared_preset
from tasks import Task

NASP_WEIGHT = 1e-3
"""l2 of NASP's complexity term; the paper leaves its value to the user."""


def _recipes(task: Task) -> tuple[Preset, ...]:
    wide = {"channels": (32, 64, 128)}
    return (
        shared_preset("smoke", {"channels": (8, 16), "blocks": 1, "convolutions": ("conv3x3", "separable3x3")}, task),
        shared_preset("quick", {"channels": (16, 32), "blocks": 1}, task),
        shared_preset("default", wide, task, summary="under 15 minutes on 2 cores"),
        shared_preset("thorough", wide, task),
        paper_preset(
            {"channels": (32, 64, 128), "blocks": 2, "widths": (1.0,), "unshuffle": 1},
            # NASP's settings: 50 epochs, here of 100 steps; no warm-up, no exploration.
            search={
                "steps": 5000,
                "warmup": 0,
                "batch": 16,
                "patch": 64,
                "loss": ({"name": "l1"}, {"name": "ssim"}),
                "weights": {"optimizer": "sgd", "lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4},
                "schedule": {"schedule": "cosine", "floor": 0.04},
                "clip_norm": 5.0,
                "choices": {"optimizer": "adam", "lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3},
                "explore": 0.0,
            },
            train={
                "steps": 100_000,
                "batch": 16,
                "patch": 64,
                "lr": 1e-3,
                "optimizer": "adam",
                "schedule": "milestones",
                "milestones": (0.5, 0.75, 0.9),
                "loss": ({"name": "l1"}, {"name": "ssim"}),
            },
        ),
    )


def _nasp(searched: Searched) -> Complexity:
    """Parameters of a candidate: the mean over the widths at which it may stand."""
    prices = static_prices(searched.space, searched.config, "parameters", 64, 64)
    terms = searched.space.cost_terms(searched.config)

    def mean(choice: str, candidate: str) -> float:
        own = [term for term in terms if _names(term, choice, candidate)]
        return sum(prices.rows[term.key] for term in own) / max(1, len(own))

    counts = {
        name: tuple(mean(name, candidate) for candidate in choice.candidates)
        for name, choice in searched.supernet.choices.items()
    }
    return ParameterProximal(
        NASP_WEIGHT, searched.supernet.choices, {name: entry for name, entry in counts.items() if sum(entry)}
    )


def _names(term: CostTerm, choice: str, candidate: str) -> bool:
    return any(name == choice and candidate in candidates for name, candidates in term.when)


METHOD = Method(
    name="autoderain",
    summary="one-path proximal search of convolutions, widths and squeeze-excitation in a U-shape",
    reference="Fu, Hou, Chen: AutoDerain: Memory-efficient Neural Architecture Search for Image Deraining, VCIP 2021",
    reconstruction=(
        "macro layout, candidate list, losses and schedule (the body of the paper is not public); "
        "the width choice is ours, and off in preset paper"
    ),
    space="unet",
    paper_tasks=("derain",),
    relaxations={"operation": "proximal", "width": "proximal"},
    initial_weights="inherited",
    paper_complexity=_nasp,
    recipes=_recipes,
)
