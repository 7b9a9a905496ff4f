"""`sijo push` and `sijo download`: a model's folder to the Hugging Face Hub, and a model from it."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sijo.app.numbers import file_size
from sijo.app.results import print_line, tell


def push(
    folder: Path,
    repo: str,
    /,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
) -> None:
    """Put a model's folder on the Hugging Face Hub.

    FOLDER is what sijo saved, such as runs/topics/model; REPO is org/name, made if there is none. The files that
    its manifest lists go there in one commit, as they were saved, and none beside them. Its page is printed.

    The token is that of HF_TOKEN, or of hf auth login. HF_ENDPOINT names another Hub.

        sijo push runs/topics/model my-team/topics --private

    Parameters
    ----------
    private
        Nobody else is to see it.
    revision
        The branch, made if there is none; the main one by default.
    message
        Of the commit.
    """
    from sijo.checkpoints.hub.push import push as pushed

    done = pushed(folder, repo, private=private, revision=revision, message=message)
    for name in done.left:
        tell(f"not pushed, no part of the model: {name}")
    for name in done.deleted:
        tell(f"deleted there, of an earlier model: {name}")
    tell(f"{len(done.files)} files, {file_size(done.bytes)}, are commit {done.commit}")
    print_line(done.url)


def download(
    repo: str, /, *, revision: str | None = None, out: Annotated[Path | None, Parameter(alias="-o")] = None
) -> None:
    """Fetch a model from the Hugging Face Hub, whole or not at all, and print its folder.

    REPO is org/name. Without --out it goes to the Hub's cache, from which every command then opens it by its name,
    without network. What sijo pushed is compared with its manifest, byte for byte.

    HF_TOKEN, HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are those of the Hub's own library.

        sijo download intfloat/multilingual-e5-small

        sijo download my-team/topics --revision v2 --out models/topics

    Parameters
    ----------
    revision
        Branch, tag or commit; the main branch by default.
    out
        A folder that is not there yet.
    """
    from sijo.checkpoints.hub.download import download as downloaded

    print_line(downloaded(repo, revision=revision, out=out))
