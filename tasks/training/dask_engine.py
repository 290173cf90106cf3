"""Fitting on a Dask cluster: each worker reads its share of the rows' files, and all agree on every tree.

The workers are those of `dask_address`, which must see the folder that the rows are spilled to, or of a local cluster
that lives as long as the fit. Files are dealt out in turn, so that the same number of workers gives the same model again;
another number moves the bins a little. Within XGBoost the workers speak to each other directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from schemas.distribution import install_command
from schemas.errors import ServiceUnavailable, UsageError
from schemas.fitting import Device
from schemas.settings import Settings, in_force
from schemas.usecase import UseCase
from schemas.verdicts import Kind
from tasks.fault_injection import fault_point
from tasks.features import Spilled, feature_names
from tasks.models import Sigmoid, load_xgboost
from tasks.training.dmatrix import quantile
from tasks.training.fit import Fitted, Watched, boost, check_rows, concluded, finished, parameters, params_refused

SETTLING = 10  # s until it is known what became of all workers once one has failed


@dataclass(frozen=True)
class Share:
    """What one worker is told: its number, its files, its part of the early-stopping rows, and what all have in common."""

    number: int
    files: tuple[str, ...]
    keep: pl.Expr
    stopping: pl.DataFrame | None
    names: tuple[str, ...]
    kind: Kind
    params: dict[str, Any]
    rounds: int
    stopping_rounds: int


def fit(case: UseCase, train: Spilled, stopping: pl.DataFrame, *, device: Device) -> Fitted:
    """As `fit.fit_booster`, on the workers. Raises as it does, and UsageError, ServiceUnavailable for the cluster."""
    check_rows(case, train=train, stopping=stopping)
    model, best = _boosted(case, train, stopping, case.training.rounds, device)
    return concluded(case, load_xgboost().Booster(model_file=bytearray(model)), best, stopping)


def refit(case: UseCase, rows: Spilled, rounds: int, *, calibration: Sigmoid | None, device: Device) -> Fitted:
    """As `fit.refit_booster`, on the workers. Raises as `fit` does."""
    check_rows(case, train=rows)
    model, _ = _boosted(case, rows, None, rounds, device)
    return finished(case, load_xgboost().Booster(model_file=bytearray(model)), rounds, calibration)


def _boosted(case: UseCase, rows: Spilled, stopping: pl.DataFrame | None, rounds: int, device: Device) -> tuple[bytes, int]:
    """A model as UBJSON, and its best number of rounds."""
    params = parameters(case, device, None, rows.height)
    params.pop("nthread", None)
    with _cluster(in_force()) as client, params_refused(case):
        addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])[: len(rows.files)]
        shares = _shares(case, rows, stopping, len(addresses), params, rounds)
        with _tracker(addresses) as tracker:
            return _gathered(
                client, [_begun(client, share, tracker, to) for share, to in zip(shares, addresses, strict=True)]
            )


def _begun(client: Any, share: Share, tracker: dict[str, Any], worker: str) -> Any:
    """One worker's part, under way. Its rows go to the worker by themselves: a task graph is no place for many."""
    [sent] = client.scatter([share], workers=[worker], hash=False)
    return client.submit(boost_share, sent, tracker, workers=[worker], allow_other_workers=False, pure=False, retries=0)


def _gathered(client: Any, futures: Sequence[Any]) -> tuple[bytes, int]:
    try:
        result: tuple[bytes, int] = client.gather(futures)[0]
    except Exception:
        if not _died(futures):
            raise
        raise ServiceUnavailable("a Dask worker died while it trained: has it memory enough? More need less each") from None
    return result


def _died(futures: Sequence[Any]) -> bool:
    """Whether a worker is gone: the others then fail as well, and perhaps before it is known."""
    import distributed
    from distributed.scheduler import KilledWorker

    wait: Any = distributed.wait
    with suppress(TimeoutError):
        wait(futures, timeout=SETTLING)
    return any(isinstance(future.exception(), KilledWorker) for future in futures if future.status == "error")


def _shares(
    case: UseCase, rows: Spilled, stopping: pl.DataFrame | None, workers: int, params: dict[str, Any], rounds: int
) -> Iterator[Share]:
    size = 0 if stopping is None else -(-stopping.height // workers)
    for number in range(workers):
        yield Share(
            number=number,
            files=tuple(str(file) for file in rows.files[number::workers]),
            keep=rows.keep,
            stopping=None if stopping is None else stopping[number * size : (number + 1) * size],
            names=tuple(feature_names(case)),
            kind=case.target.kind,
            params=params,
            rounds=rounds,
            stopping_rounds=case.training.stopping_rounds,
        )


def boost_share(share: Share, tracker: dict[str, Any]) -> tuple[bytes, int]:
    """One worker's part in a training; all end with the same model."""
    xgb = load_xgboost()
    bins = share.params.get("max_bin")

    def frames() -> Iterator[pl.DataFrame]:
        return (pl.read_parquet(file).filter(share.keep) for file in share.files)

    with xgb.collective.CommunicatorContext(dmlc_task_id=f"{share.number:06d}", **tracker):
        fault_point(f"distributed.joined_{share.number}")
        matrix = quantile(share.names, share.kind, frames, bins)
        watched = None
        if (stopping := share.stopping) is not None:
            against = quantile(share.names, share.kind, lambda: iter([stopping]), bins, ref=matrix)
            watched = Watched(against, share.stopping_rounds)
        booster = boost({**share.params, "nthread": 1}, matrix, share.rounds, watched)
    best = booster.best_iteration + 1 if watched else share.rounds
    booster.set_attr(best_iteration=None, best_score=None)
    return bytes(booster.save_raw("ubj")), best


@contextmanager
def _tracker(addresses: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Where XGBoost's workers find each other: in this process, at an address that they can reach."""
    failed = load_xgboost().core.XGBoostError
    from distributed import utils
    from xgboost.tracker import RabitTracker

    local = {urlsplit(address).hostname for address in addresses} <= {"127.0.0.1", "localhost"}
    ours: Any = utils.get_ip
    tracker = RabitTracker(n_workers=len(addresses), host_ip="127.0.0.1" if local else ours(), sortby="task")
    tracker.start()
    try:
        yield dict(tracker.worker_args())
    finally:
        with suppress(failed):  # it still waits for a worker that died; what ended the fit says so
            tracker.free()


@contextmanager
def _cluster(settings: Settings) -> Iterator[Any]:
    try:
        import dask
        import distributed
    except ImportError:
        raise UsageError(f"the dask engine needs Dask: {install_command('dask')}, or --engine external") from None
    connect: Any = distributed.Client
    cluster: Any = distributed.LocalCluster
    # A worker that died takes its part of every tree with it: there is nothing to try again.
    dask.config.set({"distributed.comm.timeouts.connect": "15s", "distributed.scheduler.allowed-failures": 0})
    if settings.dask_address:
        try:
            client = connect(settings.dask_address, timeout="15s")
        except (OSError, ValueError) as error:
            raise ServiceUnavailable(f"no Dask scheduler answers at {settings.dask_address}: {error}") from None
        with client:
            yield client
        return
    quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    # No limit: what XGBoost holds Dask can neither spill nor count, and a worker that is paused or restarted ends the fit.
    local = cluster(n_workers=settings.dask_workers, threads_per_worker=1, host="127.0.0.1", memory_limit=0, **quiet)
    with local, connect(local) as client:
        client.wait_for_workers(settings.dask_workers, timeout=120)
        yield client
