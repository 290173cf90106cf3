"""What MLflow's errors mean here: one line that says what was tried, and whether to try again."""

from __future__ import annotations

import re

from schemas.errors import NotFound, PenstockError, ServiceUnavailable, UsageError
from tasks.registry.location import SETTING

MISSING = ("RESOURCE_DOES_NOT_EXIST",)
DENIED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")
WRONG = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE", "ENDPOINT_NOT_FOUND")
CAUSES = {
    r"refused": "connection refused",
    r"[Nn]ame or service|resolve": "the host's name is unknown",
    r"[Tt]imed? ?out": "no answer in time",
    r"\b(5\d\d)\b(?= error|.{0,12}[Ee]rror)": r"it answers \1",
    r"too many (5\d\d)": r"it answers \1",
    r"reset by peer|RemoteDisconnected|[Aa]borted|IncompleteRead|ConnectionError": "the connection broke",
    r"database is locked": "the database is locked",
    r"disk is full|No space left": "the disk is full",
    r"disk I/O error": "the disk fails",
}


def translated(error: Exception, tried: str, url: str) -> PenstockError:
    """The error to raise for one of MLflow's, of its database or of the connection."""
    code = str(getattr(error, "error_code", ""))
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if code in MISSING or status == 404 or re.search(r"\b404 Client Error|No such file", str(error)):
        return NotFound(f"cannot {tried}: not in the registry {url} ({_short(error)})")
    if code in DENIED or status in (401, 403):
        return UsageError(
            f"cannot {tried}: the registry {url} refuses these credentials"
            " (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)"
        )
    if "out-of-date database schema" in str(error):
        return UsageError(
            f"cannot {tried}: the registry is another MLflow's; back it up, then run `mlflow db upgrade {url}`"
        )
    if code in WRONG or 400 <= status < 500 or isinstance(error, PermissionError):
        return UsageError(f"cannot {tried}: the registry {url} refuses it ({_short(error)})")
    if url.startswith("sqlite:"):
        return ServiceUnavailable(f"cannot {tried}: the registry {url} fails ({_short(error)}); mend that and repeat")
    return ServiceUnavailable(
        f"cannot {tried}: the registry {url} does not answer ({_short(error)}); is MLflow running there? ({SETTING})"
    )


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    for pattern, meaning in CAUSES.items():
        if match := re.search(pattern, text):
            return match.expand(meaning)
    return text[:150]
