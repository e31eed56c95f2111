from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from training import OptimizerConfig, TrainingError, build_optimizer, load_checkpoint, save_checkpoint
from training.checkpoint import load_optimizer_tensors, optimizer_tensors, prefixed, unprefixed


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "c.safetensors"
    tensors = {"a": torch.rand(3, 4), "b": torch.arange(5), "view": torch.rand(4, 6)[:, ::2].t()}
    meta = {"step": 7, "losses": [0.25, 0.125], "name": "ü", "none": None}
    save_checkpoint(path, tensors, meta)
    again, found = load_checkpoint(path)
    assert found == meta
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())
    assert [p.name for p in path.parent.iterdir()] == ["c.safetensors"]


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no checkpoint at .*gone\.safetensors"):
        load_checkpoint(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"a": torch.rand(64)}, {"step": 1})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrainingError, match=r"is damaged .*delete it to start over"):
        load_checkpoint(path)


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"PK\x03\x04 this was a pickle once" * 20)
    with pytest.raises(TrainingError, match="is damaged"):
        load_checkpoint(path)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.rand(2)}, path, {"format": "pt"})
    with pytest.raises(TrainingError, match="not a checkpoint of this program"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"a": torch.zeros(2)}, {"step": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"a": torch.ones(2)}, {"step": object()})
    tensors, meta = load_checkpoint(path)
    assert meta == {"step": 1}
    assert torch.equal(tensors["a"], torch.zeros(2))


def test_prefixes_come_off_as_they_went_on() -> None:
    both = prefixed("a", {"x.y": torch.zeros(1)}) | prefixed("ab", {"x": torch.ones(1)})
    assert list(both) == ["a.x.y", "ab.x"]
    assert list(unprefixed("a", both)) == ["x.y"]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_optimiser_goes_on_where_it_was(name: str, tmp_path: Path) -> None:
    config = OptimizerConfig.model_validate({"optimizer": name, "lr": 0.01, "bias_lr_factor": 2.0})

    def start() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 1, 3)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model, build_optimizer(model.named_parameters(), config)

    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            torch.manual_seed(number)
            # The second layer rests in the first steps: its state starts later, or is missing altogether.
            layers = list(model.children())[: 1 if number < 3 else 2]
            out = nn.Sequential(*layers)(torch.rand(1, 2, 8, 8))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(out.pow(2).mean())
            optimizer.step()

    straight = start()
    steps(*straight, range(6))

    broken = start()
    steps(*broken, range(2))
    tensors = prefixed("m", broken[0].state_dict()) | prefixed("o", optimizer_tensors(broken[1]))
    save_checkpoint(tmp_path / "c.safetensors", tensors, {})
    loaded, _ = load_checkpoint(tmp_path / "c.safetensors")
    again = start()
    again[0].load_state_dict(unprefixed("m", loaded))
    load_optimizer_tensors(again[1], unprefixed("o", loaded))
    steps(*again, range(2, 6))
    for ours, theirs in zip(straight[0].parameters(), again[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)

    # Without the optimiser's state the result is another one.
    forgetful = start()
    forgetful[0].load_state_dict(unprefixed("m", loaded))
    steps(*forgetful, range(2, 6))
    pairs = zip(straight[0].parameters(), forgetful[0].parameters(), strict=True)
    assert not all(torch.equal(ours, theirs) for ours, theirs in pairs)
