"""The menu: every step as a Prefect task, with its retries, cache policy, timeout and tags.

Tasks take and return values only; each opens its store and registry itself. What leaves the process is looked up by its
content hash before it is repeated, so a retry or a second run costs time and no second effect; nothing here is cached.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from tasks import (
    alerting,
    beginning,
    by_hand,
    datasets,
    delivery,
    inference,
    maintenance,
    monitoring,
    parsing,
    publishing,
    replay,
)
from tasks import challenge as training
from tasks.orchestration import step

fingerprint = step(parsing.fingerprint, tags={"ingest"})
already_published = step(delivery.already_published, tags={"ingest", "lake"})
audit_on_branch = step(delivery.audit_on_branch, tags={"ingest", "lake"})
publish = step(delivery.publish, tags={"ingest", "lake"})
untold = step(delivery.untold, tags={"ingest", "lake"})
tidy = step(delivery.tidy, tags={"ingest", "lake"})
retract = step(publishing.retract_source, tags={"lake"})
sweep = step(maintenance.sweep, tags={"lake"})
let_go = step(maintenance.expire_logs, tags={"lake"})

data_at = step(datasets.data_at, tags={"lake"})
champion = step(training.champion, tags={"registry"})
challenge = step(training.challenge, tags={"train", "lake", "registry"}, timeout=6 * 3600)
refit = step(training.refit, tags={"train", "lake", "registry"}, timeout=6 * 3600)
try_out = step(training.try_out, tags={"train", "registry"})
settled = step(training.settled, tags={"train", "registry"})
untold_moves = step(training.untold, name="untold_moves", tags={"train", "registry"})
note_told = step(training.note_told, tags={"train", "registry"})
held_back = step(by_hand.held_back, tags={"registry", "lake"})
gate_version = step(by_hand.gate_version, tags={"train", "lake", "registry"})
rollback_target = step(by_hand.rollback_target, tags={"registry", "lake"})
try_out_again = step(by_hand.try_out, tags={"registry"})
promote = step(training.promote, tags={"train", "registry", "lake"})
promote_by_hand = step(by_hand.promote, name="promote_by_hand", tags={"registry", "lake"})
roll_back = step(by_hand.roll_back, tags={"registry", "lake"})

score = step(inference.score_commit, tags={"score", "lake", "registry"}, timeout=6 * 3600)
score_file = step(inference.score_file, tags={"score", "lake", "registry"}, timeout=6 * 3600)
unscored_beginning = step(beginning.unscored, tags={"score", "lake", "registry"})
windows_of = step(monitoring.windows_of, tags={"monitor", "lake"})
look = step(monitoring.monitor_window, tags={"monitor", "lake", "registry"})
settle_alerts = step(alerting.sync_alerts, tags={"alert", "lake"})
deliver_alerts = step(alerting.send_pending, tags={"alert", "lake"})
unaudited_standing = step(alerting.standing_unaudited_alerts, tags={"alert", "lake"})

dated_files = step(publishing.partition_files, tags={"ingest"})
publishes = step(publishing.list_publishes, tags={"lake"})
refuse_history = step(replay.require_empty_store, tags={"lake"})
looped = step(replay.backtest_loop, tags={"monitor", "lake"})
bare = step(replay.backtest_fixed_schedule, tags={"train", "lake"}, timeout=6 * 3600, retries=0)
