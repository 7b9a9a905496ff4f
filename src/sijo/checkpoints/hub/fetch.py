"""A model that is opened by its name on the Hub, into its cache."""

from collections.abc import Sequence
from pathlib import Path

from sijo.checkpoints.hub.calls import hub_asked
from sijo.errors import SijoError


def fetched(repo: str, revision: str | None, wanted: Sequence[str]) -> Path:
    """The folder of a model in the Hub's cache, with the files of these patterns, once they are there.

    Raises what `hub_asked` does, and SijoError where the Hub was not reached.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    with hub_asked(f"there is no folder {repo}, and {repo} was not fetched from the Hub"):
        try:
            return Path(snapshot_download(repo, revision=revision, allow_patterns=list(wanted)))
        except LocalEntryNotFoundError as error:
            cause = error.__cause__
            if isinstance(cause, HfHubHTTPError):
                raise cause from None
            raise SijoError(
                f"there is no folder {repo}, {repo} is not whole in the Hub's cache, and {constants.ENDPOINT} was "
                f"not reached ({type(cause or error).__name__}). Without a network sijo opens folders, and with "
                "HF_HUB_OFFLINE=1 whatever was downloaded before"
            ) from None
