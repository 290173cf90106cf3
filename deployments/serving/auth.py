"""The bearer token: the one that is set, or a random one that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from schemas.errors import UsageError
from schemas.settings import Settings

LEAST = 16


def token_file(settings: Settings, use_case: str) -> Path:
    """Where the token is written that a server makes itself."""
    return settings.root / "serving" / use_case / "token"


def token(settings: Settings, use_case: str) -> tuple[str, Path | None]:
    """The token, and the file it was written to where none is set. Raises UsageError for one too short."""
    if settings.api_token is not None:
        configured = settings.api_token.get_secret_value()
        if len(configured) < LEAST or not configured.isascii() or not configured.isprintable() or " " in configured:
            raise UsageError(f"PENSTOCK_API_TOKEN needs at least {LEAST} printable ASCII characters without spaces")
        return configured, None
    fresh = secrets.token_urlsafe(32)
    path = token_file(settings, use_case)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"{fresh}\n")
    return fresh, path
