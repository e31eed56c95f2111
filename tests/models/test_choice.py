import pytest
import torch

from models import Choice, Selection


def test_an_undecided_choice_says_what_to_call() -> None:
    choice = Choice("block.conv", "operation", ("a", "b"))
    with pytest.raises(RuntimeError, match=r"block\.conv is undecided: call decide\(\) or pick\(\)"):
        _ = choice.selection


def test_a_pick_is_one_hot() -> None:
    choice = Choice("c", "operation", ("a", "b", "d"))
    choice.pick("b")
    assert choice.selection.weights.tolist() == [0.0, 1.0, 0.0]
    assert choice.selection.active == (1,)
    assert not choice.selection.probe


def test_weights_of_another_length_are_refused() -> None:
    choice = Choice("c", "operation", ("a", "b"))
    with pytest.raises(ValueError, match="choice c: 2 weights wanted"):
        choice.decide(Selection(torch.ones(3), (0,)))


@pytest.mark.parametrize("candidates", [(), ("a", "a")])
def test_candidates_are_unique_and_not_empty(candidates: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="unique and not empty"):
        Choice("c", "operation", candidates)


def test_an_unknown_candidate_cannot_be_picked() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        Choice("c", "operation", ("a",)).pick("z")
