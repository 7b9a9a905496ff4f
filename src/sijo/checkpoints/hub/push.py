"""A model's folder, to the Hub: what its manifest lists, byte for byte, as one commit or not at all."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sijo.checkpoints.card import CARD, HUB, Card, render
from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.hub.calls import api, hub_asked, must_be_a_name
from sijo.checkpoints.hub.travelling import travels
from sijo.checkpoints.locate import offline
from sijo.checkpoints.weight_files import has_weights
from sijo.errors import CheckpointError, SettingError
from sijo.files.json_files import LONGEST_JSON
from sijo.files.manifest import (
    FOR_PEOPLE,
    MANIFEST,
    Listing,
    Seal,
    decides,
    digests,
    listed_files,
    rendered,
    verify,
)
from sijo.files.paths import READ_WHOLE, present

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

    from sijo.checkpoints.load import Model


@dataclass(frozen=True)
class Pushed:
    """A commit on the Hub, which holds a model."""

    url: str
    """The page of the model."""
    commit: str
    """Its number, by which `revision=` finds this very model."""
    files: tuple[str, ...]
    """What the model is made of there."""
    bytes: int
    """All of them together."""
    deleted: tuple[str, ...]
    """Files of an earlier model that were there, and are no part of this one."""
    left: tuple[str, ...]
    """Files of the folder that are no part of a model, and stayed."""


def push(
    folder: str | Path,
    repo: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
) -> Pushed:
    """Put a model's folder on the Hub, in one commit: all of it is there, or what was there before.

    folder    what sijo saved: a model with its manifest
    repo      org/name; made if there is none
    private   nobody else is to see it: a new one is made so, and one that others see is refused
    revision  the branch, made if there is none; None for the main one
    message   of the commit, its first line in short

    Only files that the manifest lists are pushed, as it lists them, and of these what is part of a model: no cache,
    no state of an optimizer, nothing hidden. README.md, LICENSE and NOTICE go as they are now; where there is no
    card, one is made. What another model left there under names that would be opened with this one is deleted.

    Raises SettingError without a token, for a name or a card that the Hub does not take, or a folder without
    manifest; CheckpointError for one that is not as it was saved; SijoError where the Hub does not answer.
    """
    folder = Path(folder)
    hub = api()  # which is not installed by everybody, and says so
    must_be_a_name(repo)
    seal, listing, left = _files_to_push(folder)
    hub.token = _token(repo)
    from huggingface_hub import CommitOperationDelete

    title, _, rest = (message or f"A model of sijo, {len(listing)} files").partition("\n")
    with hub_asked(f"{folder} was not pushed to {repo}"):
        page = str(hub.create_repo(repo, private=private or None, exist_ok=True))
        about = hub.model_info(repo)
        if private and not about.private:
            raise SettingError(
                f"{repo} is there already and everybody sees it, so --private cannot be: make it private on its "
                "page, or name another"
            )
        if revision is not None:
            hub.create_branch(repo, branch=revision, exist_ok=True)
            about = hub.model_info(repo, revision=revision)
        there = [file.rfilename for file in about.siblings or ()]
        files = _additions(folder, listing, FolderDescription(folder), repo)
        stale = tuple(name for name in there if decides(name) and name not in {file.path_in_repo for file in files})
        hub.preupload_lfs_files(repo, files, revision=revision, gitignore_content="")  # none of theirs hides a file
        _must_be_as_listed(folder, files, listing)
        seal.must_hold()
        done = hub.create_commit(
            repo,
            [*files, *map(CommitOperationDelete, stale)],
            commit_message=title,
            commit_description=rest.strip(),
            revision=revision,
            parent_commit=about.sha,  # of two who push at once, the second is told
        )
    names = tuple(file.path_in_repo for file in files)
    size = sum(file.upload_info.size for file in files)
    return Pushed(page, str(done.oid), names, size, deleted=stale, left=left)


def push_model(
    model: "Model",
    repo: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    card: Card | None = None,
) -> Pushed:
    """Save a model in a folder of its own, for as long as it is pushed; see `save` and `push`."""
    from sijo.checkpoints.save import save

    api()
    must_be_a_name(repo)
    with tempfile.TemporaryDirectory() as place:
        folder = save(model, Path(place) / repo.rpartition("/")[2], card=card)
        return push(folder, repo, private=private, revision=revision, message=message)


def _token(repo: str) -> str:
    """What shows who pushes, by HF_TOKEN or `hf auth login`."""
    from huggingface_hub import get_token

    if offline():
        raise SettingError(f"nothing is pushed to {repo} while HF_HUB_OFFLINE forbids the network; unset it")
    token = get_token()
    if token is None:
        raise SettingError(
            f"to push to {repo} the Hub wants a token with write access, and there is none: set HF_TOKEN, or run "
            "hf auth login once"
        )
    return token


def _files_to_push(folder: Path) -> tuple[Seal, Listing, tuple[str, ...]]:
    """What makes sure that the folder stays as it is; the files to push; the names of all others in it."""
    if not folder.is_dir():
        raise SettingError(f"there is no folder {folder}; name the folder of a model")
    if present(folder, "config.json") is None and not has_weights(folder):
        inner = folder / "model"
        hint = f"; did you mean {inner}?" if (inner / MANIFEST).is_file() else "; name the folder of a model"
        raise SettingError(f"{folder} holds no model: there is no config.json{hint}")
    seal, listing = verify(folder), listed_files(folder)
    if seal is None or listing is None:
        raise SettingError(
            f"{folder} has no {MANIFEST}, so nobody can say which of its files are the model; sijo convert "
            f"{folder} NEW writes a folder that has one"
        )
    now = digests(folder)
    files = {name: entry for name, entry in listing.items() if travels(name) and name not in FOR_PEOPLE}
    files |= {name: now[name] for name in FOR_PEOPLE if name in now}
    left = tuple(name for name in now if name not in files and name != MANIFEST)
    return seal, dict(sorted(files.items())), left


def _additions(
    folder: Path, listing: Listing, described: FolderDescription, repo: str
) -> "list[CommitOperationAdd]":
    """The files as the Hub's library takes them: those that fit in memory as they were checked, others by path."""
    from huggingface_hub import CommitOperationAdd

    contents: dict[str, bytes | str] = {}
    for name, (size, _) in listing.items():
        file = present(folder, name)
        if file is None:
            raise CheckpointError(f"{folder / name} was there a moment ago; push the folder again")
        contents[name] = file.read_bytes(READ_WHOLE) if size <= READ_WHOLE else str(file.path.resolve())
    if CARD not in listing:
        contents[CARD] = card = render(_card(described, repo.rpartition("/")[2])).encode()
        made = {CARD: (len(card), hashlib.sha256(card).hexdigest())}
        listing = dict(sorted({**listing, **made}.items()))
    old = present(folder, MANIFEST)
    if old is not None and listed_files(folder) == listing:
        contents[MANIFEST] = old.read_bytes(LONGEST_JSON)
    else:  # a card was made or edited, or something stayed that is no part of a model
        contents[MANIFEST] = rendered(listing).encode()
    return [CommitOperationAdd(name, content) for name, content in sorted(contents.items())]


def _must_be_as_listed(folder: Path, files: "list[CommitOperationAdd]", listing: Listing) -> None:
    """Raise CheckpointError where what was sent is not what was checked."""
    for file in files:
        must = listing.get(file.path_in_repo)
        if must is not None and file.upload_info.sha256.hex() != must[1]:
            raise CheckpointError(f"{folder / file.path_in_repo} was changed while it was sent; push it again")


def _card(described: FolderDescription, name: str) -> Card:
    """What can be said of a model that nobody wrote a card for."""
    tasks = [HUB["tasks_of_heads"].get(head) for head in described.heads]
    task = next(filter(None, tasks), None)
    if described.sentence.trained:
        task = "sentence-similarity"
    return Card(title=name, task=task, labels=described.labels if task == "text-classification" else ())
