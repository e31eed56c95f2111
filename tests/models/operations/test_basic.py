import torch

from models import OPERATIONS, make_operation, num_parameters


def test_none_is_zeros_and_has_no_gradient() -> None:
    x = torch.rand(2, 3, 4, 5, requires_grad=True)
    found = make_operation("none", 3, 3)(x)
    assert torch.equal(found, torch.zeros(2, 3, 4, 5))
    assert not found.requires_grad


def test_skip_is_the_input_itself() -> None:
    x = torch.rand(2, 3, 4, 5)
    assert make_operation("skip", 3, 3)(x) is x


def test_both_are_free_and_told_apart_by_their_kind() -> None:
    for name, kind in (("none", "nothing"), ("skip", "attention")):
        assert OPERATIONS[name].free
        assert OPERATIONS[name].kind == kind
        assert num_parameters(make_operation(name, 8, 8)) == 0
