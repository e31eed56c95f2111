"""How much memory a step needs: bytes of live tensors, and bytes that layers keep for their backward pass."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, adds up the storages that operations make and subtracts those that die, backward pass included.

    What existed before (weights, optimiser states, gradients that are added to) does not count; nor does scratch memory
    that a kernel takes and gives back within one call. Views share a storage, which counts once.

    Attributes:
        live: Bytes alive now.
        peak: The most that were alive at once.
    """

    def __init__(self, before: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: int = 0
        self.peak: int = 0
        self._before = {tensor.untyped_storage()._cdata for tensor in before}
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count what it made."""
        del types
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._alive or key in self._before:
            return
        size = storage.nbytes()

        def died(_: object) -> None:
            self.live -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, died)
        self.live += size
        self.peak = max(self.peak, self.live)


def peak_bytes(step: Callable[[], Tensor], parameters: Iterable[Tensor]) -> int:
    """Peak of live bytes over one forward and one backward pass.

    Args:
        step: Runs the forward pass and returns the loss.
        parameters: Everything trained. Gradients that they hold are added to and do not count.
    """
    before = [t for p in parameters for t in (p, p.grad) if t is not None]
    counter = LiveBytes(before)
    with counter:
        step().backward()  # type: ignore[no-untyped-call]
    return counter.peak


class SavedBytes:
    """Bytes kept for backward by the layers under each label; a storage that several keep counts for the first."""

    def __init__(self) -> None:
        self.by_label: dict[str, int] = {}
        self._label = ""
        self._seen: set[int] = set()
        self._held: list[Tensor] = []

    @contextmanager
    def counting(self, labelled: Mapping[str, nn.Module], parameters: Iterable[Tensor]) -> Iterator[None]:
        """Inside, count what is kept while one of the labelled modules runs forward (they must not be nested).

        Args:
            labelled: Label -> module.
            parameters: Which do not count.
        """
        self._seen |= {parameter.untyped_storage()._cdata for parameter in parameters}
        handles = []
        for label, module in labelled.items():
            self.by_label.setdefault(label, 0)
            handles.append(module.register_forward_pre_hook(lambda *_, label=label: self._enter(label)))
            handles.append(module.register_forward_hook(lambda *_: self._enter("")))
        try:
            with saved_tensors_hooks(self._pack, lambda tensor: tensor):
                yield
        finally:
            for handle in handles:
                handle.remove()
            self._held.clear()

    def _enter(self, label: str) -> None:
        self._label = label

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            # Kept alive, or its address could be given to another storage within the count.
            self._held.append(tensor.detach())
            if self._label:
                self.by_label[self._label] += storage.nbytes()
        return tensor


def parameter_bytes(module: nn.Module) -> int:
    """Bytes of all parameters, each once."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


def gradient_bytes(parameters: Iterable[Tensor]) -> int:
    """Bytes of the gradients that exist."""
    return sum(p.grad.numel() * p.grad.element_size() for p in parameters if p.grad is not None)


def hold_gradients(step: Callable[[], Tensor], parameters: Iterable[Tensor]) -> None:
    """Run a step once, so that every parameter it reaches holds a gradient, set to zero."""
    step().backward()  # type: ignore[no-untyped-call]
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.zero_()
