"""Whether the packages that run are ours: a folder `flows/` in the working directory would shadow the installed one."""

from __future__ import annotations

import importlib
import os
from importlib.resources import files
from pathlib import Path

from schemas.errors import UsageError

PACKAGES = ("penstock", "schemas", "tasks", "flows", "deployments")


def shadowed(packages: tuple[str, ...] = PACKAGES) -> list[str]:
    """Files of packages that lie elsewhere than this one, as `name: file`.

    Args:
        packages: Names of packages of ours.

    Returns:
        One text a package that is not ours; empty where all are.
    """
    ours = Path(str(files("tasks"))).resolve().parent
    origins = {name: getattr(importlib.import_module(name), "__file__", None) for name in packages}
    return [f"{name}: {file}" for name, file in origins.items() if not file or Path(file).resolve().parents[1] != ours]


def refuse_shadows() -> None:
    """Raise UsageError where another package took the place of one of ours."""
    if wrong := shadowed():
        raise UsageError(f"not Penstock's own package ({'; '.join(wrong)}): run from another folder, or rename that one")


def is_deployed() -> bool:
    """Whether a worker started this process: then events and schedules speak, and may name registered use cases only.

    Returns:
        Whether one did.
    """
    return bool(os.environ.get("PREFECT__FLOW_RUN_ID"))
