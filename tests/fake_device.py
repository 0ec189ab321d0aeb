"""A CUDA card without a card: tensors that have a device and a shape, but no data.

Every operation checks devices and dtypes as on a card, so that a mix of devices fails here as it fails there. Reading a
value on the host (`item`, `tolist`, `bool`) fails too.
"""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CARD = torch.device("cuda", 0)
# Operations that wait for the card, because the host needs a value or a size.
_WAITING = ("_local_scalar_dense", "nonzero", "equal", "linalg_solve_ex", "_linalg_solve_ex", "masked_select", "unique")
# Methods that PyTorch guards by the device's runtime, and the operations behind them.
_OPERATIONS = {
    Tensor.contiguous: torch.ops.aten.contiguous.default,
    Tensor.copy_: torch.ops.aten.copy_.default,
    Tensor.__invert__: torch.ops.aten.bitwise_not.default,
}


@dataclass
class Traffic:
    """What has passed between host and card.

    Attributes:
        waits: Operations for which the host waited for the card, in order.
        copies: Copies between the devices for which the host did not wait.
    """

    waits: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.waits.clear()
        self.copies.clear()


class _Observer(TorchDispatchMode):
    """Records the traffic between host and card."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if name in _WAITING and any(value.device.type == "cuda" for value in tensors):
            self.traffic.waits.append(name)
        target = kwargs.get("device")
        if name == "copy_":
            self._record_copy(
                name, args[1].device, args[0].device, (len(args) > 2 and args[2]) or kwargs.get("non_blocking")
            )
        elif name == "_to_copy" and target is not None:
            self._record_copy(name, args[0].device, torch.device(target), kwargs.get("non_blocking"))
        return func(*args, **kwargs)

    def _record_copy(self, name: str, source: torch.device, target: torch.device, is_asynchronous: Any) -> None:
        if source.type != target.type:
            (self.traffic.copies if is_asynchronous else self.traffic.waits).append(f"{name} {source} to {target}")


class _Methods(TorchFunctionMode):
    """The methods of tensors that need a build with CUDA, by operations that do not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__:
            return _select(*args)
        if func is Tensor.__setitem__:
            target, index, value = args
            view = _select(target, index)
            return torch.ops.aten.copy_.default(view, value) if isinstance(value, Tensor) else view.fill_(value)
        if func in _OPERATIONS:
            return _OPERATIONS[func](*args, **(kwargs or {}))
        if func is Tensor.pin_memory:  # memory of the host stays what it is
            return args[0]
        return func(*args, **(kwargs or {}))


def _select(tensor: Tensor, index: Any) -> Tensor:
    """Index a tensor by integers, slices, None, Ellipsis and index tensors."""
    items = list(index) if isinstance(index, tuple) else [index]
    taken = sum(item is not None and item is not Ellipsis for item in items)
    if Ellipsis in [item for item in items if not isinstance(item, Tensor)]:
        place = next(k for k, item in enumerate(items) if item is Ellipsis)
        items[place : place + 1] = [slice(None)] * (tensor.dim() - taken)
    axis = 0
    for item in items:
        if item is None:
            tensor = tensor.unsqueeze(axis)
            axis += 1
        elif isinstance(item, slice):
            start, stop, step = item.indices(tensor.shape[axis])
            tensor = torch.ops.aten.slice.Tensor(tensor, axis, start, stop, step)
            axis += 1
        elif isinstance(item, int):
            tensor = tensor.select(axis, item)
        else:
            indices = item if isinstance(item, Tensor) else torch.as_tensor(item)
            tensor = torch.ops.aten.index.Tensor(tensor, [None] * axis + [indices])
            axis += 1
    return tensor


def _get_data(tensor: Tensor) -> Tensor:
    return torch._C.TensorBase.data.__get__(tensor)


def _set_data(tensor: Tensor, content: Tensor) -> None:
    """Exchange a tensor's content, with its device, which PyTorch keeps beside the content of a fake tensor."""
    torch._C.TensorBase.data.__set__(tensor, content)
    tensor.fake_device = content.fake_device


@contextmanager
def fake_card() -> Generator[Traffic, None, None]:
    """Run a block with tensors that have no data, on a machine that has a CUDA card `CARD`."""
    traffic = Traffic()
    with ExitStack() as stack:
        # Modules exchange the content of their parameters when they move; fake tensors have weak references.
        stack.enter_context(mock.patch.object(torch.utils, "weakref", SimpleNamespace(getweakrefs=lambda tensor: [])))
        stack.enter_context(mock.patch.object(FakeTensor, "data", property(_get_data, _set_data), create=True))
        stack.enter_context(mock.patch.object(Tensor, "record_stream", lambda tensor, stream: None))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(_Observer(traffic))
        stack.enter_context(_Methods())
        yield traffic
