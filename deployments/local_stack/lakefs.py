"""lakeFS as a part of the local system, where its binary is there and the home has no embedded lake yet."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from deployments.lakefs_server.setup import TOKEN_VARIABLE
from deployments.local_stack.services import HOOK, HOST, LAKEFS, PENSTOCK, Part, Ports, binary
from schemas.settings import Settings


def lake_parts(settings: Settings, ports: Ports) -> tuple[tuple[Part, ...], dict[str, str], tuple[str, ...]]:
    """Server and hook, what everybody has to know of them, and a note on which lake it is."""
    executable = binary("lakefs")
    if settings.lake_url:
        return (), {}, (f"lake: {settings.lake_url}, as PENSTOCK_LAKE_URL says",)
    if executable is None or (settings.root / "lake").exists():
        why = "lakefs is not installed" if executable is None else "this home has one"
        return (), {}, (f"lake: the embedded store ({why})",)
    home = settings.root / "lakefs"
    server, hook = (f"http://{HOST}:{ports.take(port)}" for port in (LAKEFS, HOOK))
    keys = _keys(home / "keys.json")
    environment = {
        "PENSTOCK_LAKE_URL": "lakefs://",
        "PENSTOCK_LAKE_NAMESPACE": f"local://{settings.root.name.strip('.') or 'penstock'}",
        "PENSTOCK_LAKE_HOOK_URL": hook,
        "PENSTOCK_LAKE_HOOK_TOKEN": keys["hook"],
        "PENSTOCK_LAKE_SIGNING_KEY": keys["signing"],
        TOKEN_VARIABLE: keys["hook"],
        "LAKECTL_SERVER_ENDPOINT_URL": server,
        "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": keys["id"],
        "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": keys["secret"],
        "LAKEFS_LISTEN_ADDRESS": server.removeprefix("http://"),
        "LAKEFS_INSTALLATION_USER_NAME": "admin",
        "LAKEFS_INSTALLATION_ACCESS_KEY_ID": keys["id"],
        "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": keys["secret"],
    }
    # It keeps everything under HOME, so it gets one of its own.
    command = ("env", f"HOME={home}", executable, "run", "--local-settings")
    asked = (*PENSTOCK, "lake", "hook", "--port", hook.rpartition(":")[2])
    parts = (Part("lakefs", command, server, f"{server}/_health"), Part("hook", asked, hook, f"{hook}/health"))
    return parts, environment, (f"lake: lakeFS; its keys are in {home / 'keys.json'} (only you can read it)",)


def _keys(path: Path) -> dict[str, str]:
    """The keys of this lake, made once."""
    if path.exists():
        stored: dict[str, str] = json.loads(path.read_text())
        return stored
    path.parent.mkdir(parents=True, exist_ok=True)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    keys = {
        "id": "AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)),
        "secret": secrets.token_urlsafe(30),
        "hook": secrets.token_urlsafe(32),
        "signing": secrets.token_urlsafe(32),
    }
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(keys, file)
    return keys
