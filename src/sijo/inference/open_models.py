"""Models that stay open in this process, so that none is opened twice while its files are as they were.

scikit-learn clones an estimator for each fold of each setting, and `sijo.encode` is called again and again: all of
them read with one network, to which nothing writes. A folder of which a file was changed is another model, and is
opened anew.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import NamedTuple

from sijo.checkpoints.describe import FolderDescription
from sijo.files.manifest import FileStates, file_states
from sijo.inference.backends.backend import Backend

MOST_OPEN = 3
"""Networks that stay open while nobody holds them; one folder in two precisions is two."""


class OpenModel(NamedTuple):
    """A folder as it was read, and the network that runs it."""

    described: FolderDescription
    backend: Backend


class OpenModels:
    """The networks that were asked for last, by their files and by what runs them; for any number of threads."""

    def __init__(self, most: int = MOST_OPEN) -> None:
        self.most = most
        self._open: OrderedDict[Hashable, OpenModel] = OrderedDict()
        self._lock = RLock()
        self._of_parents: list[OpenModel] = []

    def get(
        self, described: FolderDescription, how: Hashable, opens: Callable[[FolderDescription], Backend]
    ) -> OpenModel:
        """The network of a folder: the one that is open, else what `opens` gives.

        how  all that decides it besides its files: head, precision, device, threads

        One that is opened while a file of it is being changed, or has just been, stays open for its caller alone.
        """
        with self._lock:  # who asks for the same one while it is opened waits for it
            states = _states(described)
            key = (described.folder.resolve(), described.base.resolve(), states, how)
            if states is not None and key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
            opened = OpenModel(described, opens(described))
            if states is not None and states == _states(described):
                self._open[key] = opened
                while len(self._open) > self.most:
                    self._open.popitem(last=False)
            return opened

    def close(self) -> None:
        """Keep none open; those that somebody holds stay with their holders."""
        with self._lock:
            self._open.clear()

    def forked(self) -> None:
        """Begin anew in a process that was forked, where the threads of its parent's networks are gone.

        The parent's are not let go of: to end such a network is to wait for its threads.
        """
        self._lock = RLock()  # a thread of the parent may have held the other
        self._of_parents += self._open.values()
        self._open.clear()


OPEN_MODELS = OpenModels()
"""Those of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=OPEN_MODELS.forked)


def close_models() -> None:
    """Close the models that sijo keeps open for the next call, and so free their memory.

    `sijo.encode` and `ZeroShotClassifier` open a folder once in a process, and the last three networks stay open.
    One that a classifier still uses is freed with the classifier.

    >>> close_models()
    """
    OPEN_MODELS.close()


def _states(described: FolderDescription) -> tuple[FileStates, FileStates] | None:
    """As which the files of a folder, and of its base model, are there; None where that may change unseen."""
    own = file_states(described.folder)
    base = own if described.base == described.folder else file_states(described.base)
    return None if own is None or base is None else (own, base)
