"""Which device torch computes on, and a plain product to measure one by."""

import re
from collections.abc import Callable

import torch

from sijo.errors import SettingError


def torch_device(name: str) -> str:
    """The device that a name stands for: auto is the first GPU there is, else the processor.

    Raises SettingError for a name that is none, or a device that is not there.

    >>> torch_device("cpu")
    'cpu'
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise SettingError(f"no device {name!r}; there are auto, cpu, cuda, cuda:N and mps")
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    apple = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda:0" if cards else "mps" if apple else "cpu"
    if name == "mps" and not apple:
        raise SettingError("the device mps is for Apple's processors, and torch finds none here; use cpu or auto")
    if name.startswith("cuda"):
        number = int(name.partition(":")[2] or 0)
        if number >= cards:
            found = f"torch finds {cards} here" if torch.version.cuda else "this build of torch knows none"
            raise SettingError(f"the device {name} is GPU number {number}, and {found}; use cpu or auto")
        return f"cuda:{number}"
    return name


def torch_product(size: int) -> Callable[[], object]:
    """A product of two square matrices of so many rows in float32, on the processor.

    >>> tuple(torch_product(8)().shape)
    (8, 8)
    """
    matrix = torch.ones(size, size)
    return lambda: torch.mm(matrix, matrix)
