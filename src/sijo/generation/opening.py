"""A network that writes, opened in a precision and on a device."""

import logging
from pathlib import Path

from sijo.checkpoints.load import Model, load
from sijo.errors import SettingError, nearest
from sijo.inference.backends.devices import torch_device
from sijo.inference.backends.registry import told_of_slow_bf16
from sijo.inference.backends.torch_backend import DTYPES
from sijo.processor import has_int8

log = logging.getLogger(__name__)

HEAD = "lm"
PRECISIONS = (*DTYPES, "int8", "auto")


def opened_writer(
    model: Model | str | Path, *, base: str | Path | None = None, device: str = "auto", precision: str = "exact"
) -> Model:
    """A model with its lm head, on a device.

    model      a folder or org/name; or an opened model, which keeps its precision, and its device unless one is
               named
    base       the model of an adapter that stands alone; see `load`
    device     auto, cpu, cuda, cuda:N, mps
    precision  exact (float32), bf16, fp16; int8, which is refused where it moves the distributions over the next
               token (see `load`); auto for int8 where the processor has it and that does not, else exact

    >>> opened_writer("somewhere", precision="int9")
    Traceback (most recent call last):
    sijo.errors.SettingError: no precision 'int9' for a network that writes; did you mean 'int8'? There are exact, \
bf16, fp16, int8, auto
    """
    if precision not in PRECISIONS:
        raise SettingError(
            f"no precision {precision!r} for a network that writes{nearest(precision, PRECISIONS)} There are "
            f"{', '.join(PRECISIONS)}"
        )
    if isinstance(model, Model):
        return model if device == "auto" else model.to(torch_device(device))
    place = torch_device(device)
    if precision == "auto" and place == "cpu" and has_int8():
        try:
            return load(model, HEAD, base=base, dtype="int8")
        except SettingError as error:
            log.info("%s: precision auto takes exact: %s", model, error)
    elif precision == "int8":
        if place != "cpu":
            raise SettingError(f"precision='int8' is for the processor, and the device is {place}; use bf16 there")
        return load(model, HEAD, base=base, dtype="int8")
    told_of_slow_bf16(precision, place)
    dtype = DTYPES.get(precision, "float32")  # type: ignore[call-overload]
    return load(model, HEAD, base=base, dtype=dtype).to(place)
