"""The hook that lets the server itself hold the contract: whether it is installed, and what it said."""

from __future__ import annotations

import json
import re
from typing import Any

from schemas.errors import NotFound, PenstockError, Refused, ServiceUnavailable, StaleCheck
from schemas.refs import CommitId
from tasks.versions.lakefs.client import HookRefusal, Lake
from tasks.versions.lakefs.names import Place

FOLDER = "_lakefs_actions/"
STALE, REFUSED = "stale", "refused"
_UNREACHABLE = re.compile(r'action failed: Post "|status code: 5\d\d')  # no answer at all, or one about itself


def action_path(place: Place) -> str:
    """Where the repository keeps Penstock's hook."""
    return f"{FOLDER}penstock{'-' + place.prefix.replace('/', '-') if place.prefix else ''}.yaml"


def in_force(lake: Lake, place: Place, commit: CommitId) -> bool:
    """Whether a merge of this commit is looked at by the hook: lakeFS reads a merge's hooks from its source."""
    try:
        lake.ask(lake.sdk.objects_api.head_object, place.repository, commit, action_path(place))
    except NotFound:
        return False
    return True


def answer(verdict: str, why: str) -> dict[str, str]:
    """What the hook's application answers; `explained` finds it again in the log of the run."""
    return {"penstock": verdict, "why": why}


def explained(lake: Lake, place: Place, refusal: HookRefusal) -> PenstockError:
    """The hook's own reason for a refusal, read from its run's output.

    StaleCheck where what the merge relied on has moved, ServiceUnavailable where the hook could not be reached.
    """
    if _UNREACHABLE.search(str(refusal)):
        return ServiceUnavailable(f"{refusal}: start the hook's application, or mend its address (penstock lake init)")
    for output in _outputs(lake, place, refusal.run) if refusal.run else ():
        if answer := _answer_in(output):
            why = str(answer.get("why", ""))
            return StaleCheck(why) if answer["penstock"] == STALE else Refused(f"the lake's hook refused: {why}")
    return Refused(str(refusal))


def _outputs(lake: Lake, place: Place, run: str) -> list[str]:
    """Logs of the hooks of a run that failed. Empty where we may not read them."""
    api = lake.sdk.actions_api
    try:
        hooks = lake.pages(api.list_run_hooks, place.repository, run)
        failed = [hook.hook_run_id for hook in hooks if hook.status == "failed"]
        raw = [lake.ask(api.get_run_hook_output, place.repository, run, hook) for hook in failed]
    except PenstockError:
        return []
    return [bytes(output).decode(errors="replace") for output in raw]


def _answer_in(output: str) -> dict[str, Any] | None:
    start = output.rfind('{"penstock":')
    if start < 0 or start < output.rfind("\nResponse:"):
        return None
    try:
        document = json.JSONDecoder().raw_decode(output[start:])[0]
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
