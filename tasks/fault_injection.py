"""Named points at which a fault test kills the process, as kill -9 or a power cut would.

Test-only: nothing happens unless the environment variable PENSTOCK_KILL_POINT names the point. It is read when a point
is reached, so a test can set it for one child or for a part of its own run.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "PENSTOCK_KILL_POINT"


def fault_point(name: str) -> None:
    """Die here by SIGKILL where PENSTOCK_KILL_POINT is `name`; otherwise do nothing."""
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
