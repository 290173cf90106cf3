"""XGBoost, imported in one place, when it is first used."""

from __future__ import annotations

import os
from types import ModuleType


def load_xgboost() -> ModuleType:
    """XGBoost, imported when first used, with threads that sleep while they wait.

    By default they spin, and on a machine with other work a fit then takes five times as long. The variable is read when
    the library loads; who has set it keeps his value.

    Returns:
        The module.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xgboost

    return xgboost
