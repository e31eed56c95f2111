"""The published sizes are built and searched for one step, so that a GPU is the only thing that a user still needs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import build_network, inherit_weights
from search import METHODS, Method, paper_task
from search.complexity import NoComplexity
from search.config import Plan, RunConfig
from search.searcher import Searcher, Steering
from tasks import BatchStream, Sample, dead_leaves

BRIEF = {"steps": 1, "warmup": 1, "batch": 1, "patch": 16, "checkpoint_every": 1}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_one_step_at_the_published_sizes(method: Method, tmp_path: Path) -> None:
    task = paper_task(method)
    scale = task.scale if task.scale > 1 else None
    plan = Plan(
        RunConfig(task=task.name, scale=scale, method=method.name, target="cpu-onnxruntime-fp32-1t", preset="paper",
                  search=BRIEF)
    )  # fmt: skip
    settings = plan.preset.search
    supernet = plan.space.supernet(plan.searched_config)
    steering = Steering(plan.relaxations, NoComplexity(), exit_paths=plan.space.exit_order(plan.searched_config))
    searcher = Searcher(supernet, steering, settings, torch.device("cpu"))
    samples = tuple(Sample(f"s/{n}", dead_leaves(np.random.default_rng(n), 96)) for n in range(2))
    batches = BatchStream(plan.task, samples, settings.patch, settings.batch, 0, settings.versions)
    result = searcher.run(batches, batches, tmp_path / "supernet.safetensors", tmp_path / "search.jsonl")
    picks = plan.space.paper_picks(plan.space_config, result.probabilities)
    network = build_network(plan.space.genotype(plan.space_config, picks)).eval()
    if method.initial_weights == "inherited":
        inherit_weights(network, result.supernet, picks)
    side = 2 * network.multiple
    with torch.no_grad():
        restored = network(torch.rand(1, 3, side, side))
    assert restored.shape == (1, 3, side * network.scale, side * network.scale)
    assert torch.isfinite(restored).all()
