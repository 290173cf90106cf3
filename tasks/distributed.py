"""Fitting on a Dask cluster: each worker reads files of the commit's rows and boosts its share, all agree on each tree.

The workers are those of `dask_address`, which must see the folder that the rows are spilled to, or of a local cluster
that lives as long as the fit. How rows fall on workers moves the bins a little: another number of workers gives other bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from schemas.errors import ServiceUnavailable, UsageError
from schemas.fitting import Device
from schemas.settings import Settings, in_force
from schemas.usecase import UseCase
from schemas.verdicts import Kind
from tasks import training
from tasks.calibration import Sigmoid
from tasks.features import TARGET, feature_names
from tasks.matrices import load_xgboost, numeric_target
from tasks.spilling import Spilled

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

LABEL = "_y"


def fit(case: UseCase, train: Spilled, stopping: pl.DataFrame, *, device: Device) -> training.Fitted:
    """As `training.fit`, on the workers. Raises as it does, and UsageError, ServiceUnavailable for the cluster."""
    training.check_rows(case, train=train, stopping=stopping)
    file = train.folder / "stopping.parquet"
    stopping.write_parquet(file)
    with _cluster(in_force()) as client, training.params_refused(case):
        dask_xgb = _dask_xgboost()
        bins = _matrix(case, client, train.files, train.keep)
        watched = _matrix(case, client, [file], pl.lit(True), ref=bins)
        booster = dask_xgb.train(
            client,
            _parameters(case, device, train.height),
            bins,
            case.training.rounds,
            evals=[(watched, "stopping")],
            early_stopping_rounds=case.training.stopping_rounds,
            verbose_eval=False,
        )["booster"]
    return training.concluded(case, booster, stopping)


def refit(case: UseCase, rows: Spilled, rounds: int, *, calibration: Sigmoid | None, device: Device) -> training.Fitted:
    """As `training.refit`, on the workers. Raises as `fit` does."""
    training.check_rows(case, train=rows)
    with _cluster(in_force()) as client, training.params_refused(case):
        bins = _matrix(case, client, rows.files, rows.keep)
        booster = _dask_xgboost().train(client, _parameters(case, device, rows.height), bins, rounds)["booster"]
    return training.finished(case, booster, rounds, calibration)


def _parameters(case: UseCase, device: Device, rows: int) -> dict[str, Any]:
    told = training.parameters(case, device, None, rows)
    told.pop("nthread", None)  # a worker's own threads
    return told


def _dask_xgboost() -> Any:
    load_xgboost()
    import xgboost.dask

    return xgboost.dask


def _matrix(case: UseCase, client: Any, files: Sequence[Path], keep: pl.Expr, ref: Any = None) -> Any:
    import dask.dataframe

    from_map: Any = dask.dataframe.from_map
    names, kind = feature_names(case), case.target.kind
    like = _table(pl.read_parquet(files[0], n_rows=1), names, kind)
    rows = from_map(load, [str(file) for file in files], names=names, kind=kind, keep=keep, meta=like)
    bins = case.training.params.get("max_bin")
    options = {"enable_categorical": True, "max_bin": bins, "ref": ref}
    return _dask_xgboost().DaskQuantileDMatrix(client, rows[names], rows[LABEL], **options)


def load(file: str, names: Sequence[str], kind: Kind, keep: pl.Expr) -> pd.DataFrame:
    """Features and outcome of one file's rows, on a worker."""
    return _table(pl.read_parquet(file).filter(keep), names, kind)


def _table(rows: pl.DataFrame, names: Sequence[str], kind: Kind) -> pd.DataFrame:
    return rows.select(names).to_pandas().assign(**{LABEL: numeric_target(kind, rows[TARGET])})


@contextmanager
def _cluster(settings: Settings) -> Iterator[Any]:
    try:
        import dask
        import distributed
    except ImportError:
        raise UsageError("the dask engine needs Dask: pip install 'penstock[dask]', or --engine external") from None
    connect: Any = distributed.Client
    cluster: Any = distributed.LocalCluster
    dask.config.set({"distributed.comm.timeouts.connect": "15s"})
    if settings.dask_address:
        try:
            client = connect(settings.dask_address, timeout="15s")
        except (OSError, ValueError) as error:
            raise ServiceUnavailable(f"no Dask scheduler answers at {settings.dask_address}: {error}") from None
        with client:
            yield client
        return
    local = cluster(
        n_workers=settings.dask_workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    )
    with local, connect(local) as client:
        client.wait_for_workers(settings.dask_workers, timeout=120)
        yield client
