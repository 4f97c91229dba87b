"""A repository of the Hub: its full name, its creation, and the upload of a folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import huggingface_hub
from etils import epath
from huggingface_hub import constants, utils

from tfseg.errors import UserError
from tfseg.hub import connection
from tfseg.hub.model_card import name_repository


@dataclasses.dataclass(frozen=True)
class Repository:
    """Where a model is uploaded to.

    Attributes:
        repo_id: `name` or `owner/name`; without an owner, the account that is logged in is meant.
        private: Whether nobody but its owner may see it.
    """

    repo_id: str
    private: bool

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"{constants.ENDPOINT}/{self.repo_id}"


def choose(hub_model_id: str | None, private: bool, model_dir: epath.PathLike) -> Repository:
    """Returns the named repository, or one with the name of the run's folder.

    Raises:
        UserError: The Hub allows no such name.
    """
    folder = os.fspath(model_dir)
    repo_id = hub_model_id or Path(os.path.abspath(folder)).name
    try:
        utils.validate_repo_id(repo_id)
    except huggingface_hub.errors.HFValidationError:
        received = f"--hub_model_id={hub_model_id}" if hub_model_id else f"the name of {folder}"
        raise UserError(
            f"{received} is no name of a repository on the Hub; --hub_model_id takes name or "
            "owner/name, of letters, digits, '-', '_' and '.', at most 96 of them"
        ) from None
    return Repository(repo_id, private)


def create(repository: Repository) -> Repository:
    """Creates a repository unless it exists; returns it with its owner.

    Raises:
        UserError: There is no token, it cannot write, or the repository is public but should be
            private.
        requests.RequestException: The Hub refuses or does not answer.
    """
    api = connection.open_api()
    account = api.whoami()
    _check_role(account)
    repo_id = repository.repo_id
    if "/" not in repo_id:
        repo_id = f"{account['name']}/{repo_id}"
    private = True if repository.private else None  # None leaves it to the owner's settings
    api.create_repo(repo_id, private=private, exist_ok=True)
    if private and not api.model_info(repo_id).private:
        raise UserError(
            f"{repo_id} exists on the Hub and is public, which --hub_private refuses; make it "
            "private on its page, or choose another --hub_model_id"
        )
    return dataclasses.replace(repository, repo_id=repo_id)


def _check_role(account: dict) -> None:
    token = account.get("auth", {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise UserError(
            f"the token {token.get('displayName', '')!r} of the Hub may only read; create one "
            "that may write at https://huggingface.co/settings/tokens"
        )


def upload(
    folder: Path, repository: Repository, message: str, *, has_bars: bool = False
) -> Repository:
    """Uploads the files of a local folder in one commit, so that readers never see a part.

    Files that the repository has and the folder has not stay as they are.

    Args:
        folder: The caller's own, such as a snapshot: nobody else changes it, and its README.md
            gets the full name of the repository.
        repository: Created if it is missing.
        message: The title of the commit.
        has_bars: Whether huggingface_hub draws its progress bars on a terminal.

    Returns:
        The repository with its owner.

    Raises:
        UserError: See `create`.
        requests.RequestException: The Hub refuses or does not answer.
    """
    with connection.quiet_library(has_bars=has_bars):
        return connection.call_patiently(lambda: _upload_once(folder, repository, message))


def _upload_once(folder: Path, repository: Repository, message: str) -> Repository:
    repository = create(repository)
    name_repository(folder / "README.md", repository.repo_id)
    api = connection.open_api()
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    operations = [
        huggingface_hub.CommitOperationAdd(path.relative_to(folder).as_posix(), path)
        for path in paths
    ]
    # One by one they stay in this thread, whose session has the time limit.
    for operation in operations:
        api.preupload_lfs_files(repository.repo_id, [operation], free_memory=False)
    api.create_commit(repository.repo_id, operations, commit_message=message)
    return repository
