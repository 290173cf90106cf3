"""One way to change the log repository: a branch of the change's own, one commit, one guarded merge into `main`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from schemas.errors import NotFound, NothingToCommit, StaleCheck
from schemas.refs import Commit, CommitId, Guard
from tasks.fault_injection import fault_point
from tasks.versions.protocol import MAIN, VersionStore


def commit_and_merge(
    log: VersionStore,
    branch: str,
    folder: str,
    checked_at: CommitId,
    added: Mapping[str, bytes],
    message: str,
    metadata: Mapping[str, str],
    removed: Iterable[str] = (),
) -> Commit:
    """Bring changes below one folder to main, which holds there what it held at `seen`.

    Args:
        log: The repository.
        branch: `<kind>/<name>`, the same for the same change; one that a killed process left behind is begun anew.
        folder: The folder that is changed.
        seen: The commit of main that the change is based on.
        added: Contents to write, by path.
        message: Message of the merge.
        metadata: Metadata of both commits.
        removed: Paths to remove.

    Returns:
        The commit of main.

    Raises:
        StaleCheck: The folder has changed since, or another process makes the same change at this moment: look again.
    """
    kind = branch.partition("/")[0]
    try:
        log.delete_branch(branch)
        log.branch(branch, checked_at)
        for path, payload in added.items():
            log.upload(branch, path, payload)
        for path in removed:
            log.remove(branch, path)
        log.commit(branch, message, metadata)
        fault_point(f"{kind}.before_merge")
        commit = log.merge(branch, MAIN, message, metadata, guard=Guard(commit=checked_at, prefixes=(folder,)))
    except (NotFound, NothingToCommit):
        raise StaleCheck(f"another process changed {folder} of {log.url} at the same time ({branch}): look again") from None
    fault_point(f"{kind}.after_merge")
    log.delete_branch(branch)
    return commit
