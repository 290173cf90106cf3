"""What the standalone tasks are declared with; in a flow, `audit_frame_task.with_options(retries=2)` changes it."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE

# Frames are neither hashed for a cache nor written to a result storage: both cost more than most of these tasks.
STANDALONE_TASK_OPTIONS: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False, "tags": {"penstock"}}
