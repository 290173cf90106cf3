"""What users of Penstock write against: use cases and contracts, settings, flows, tasks for flows of their own, and errors.

Nothing lives here. `__init__.pyi` says which name comes from which module, to editors and type checkers as to this file; a
name's module is imported when the name is first asked for, so `import penstock` costs nothing.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_MODULES = {name.name: line.module for line in _STUB.body if isinstance(line, ast.ImportFrom) for name in line.names}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from schemas.distribution import own_version

        return own_version()
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
