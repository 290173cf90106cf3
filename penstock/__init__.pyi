# One line a name that users write against; tests/architecture/penstock_api.txt holds their signatures.
from flows.backfill import backfill as backfill
from flows.ingest import ingest as ingest
from flows.lifecycle import lifecycle as lifecycle
from flows.monitor import monitor as monitor
from flows.promote import promote as promote
from flows.replay import replay as replay
from flows.rescan import rescan as rescan
from flows.retract import retract as retract
from flows.rollback import rollback as rollback
from flows.score import score as score
from flows.sweep import sweep as sweep
from flows.train import train as train
from schemas.contract import Contract as Contract
from schemas.contract import column as column
from schemas.contract import confirmed_features as confirmed_features
from schemas.contract import rule as rule
from schemas.errors import Conflict as Conflict
from schemas.errors import IntegrityError as IntegrityError
from schemas.errors import NotEnoughEvidence as NotEnoughEvidence
from schemas.errors import NotFound as NotFound
from schemas.errors import NothingToCommit as NothingToCommit
from schemas.errors import PenstockError as PenstockError
from schemas.errors import ProtectedBranch as ProtectedBranch
from schemas.errors import Refused as Refused
from schemas.errors import ServiceUnavailable as ServiceUnavailable
from schemas.errors import StaleCheck as StaleCheck
from schemas.errors import StoreError as StoreError
from schemas.errors import UsageError as UsageError
from schemas.function_features import FunctionFeature as FunctionFeature
from schemas.function_features import function_feature as function_feature
from schemas.reader import ColumnFormat as ColumnFormat
from schemas.reader import Reader as Reader
from schemas.settings import Settings as Settings
from schemas.settings import read_settings as read_settings
from schemas.usecase import GatePolicy as GatePolicy
from schemas.usecase import Input as Input
from schemas.usecase import Lookup as Lookup
from schemas.usecase import MonitorPolicy as MonitorPolicy
from schemas.usecase import Split as Split
from schemas.usecase import Target as Target
from schemas.usecase import Training as Training
from schemas.usecase import UseCase as UseCase
from schemas.usecase import registered as registered
from schemas.usecase import resolve as resolve
from tasks.contracts import FrameAudit as FrameAudit
from tasks.orchestration import LakeFSCredentials as LakeFSCredentials
from tasks.replay import land_flights as land_flights
from tasks.standalone import (
    Calibration as Calibration,
)
from tasks.standalone import (
    Explanation as Explanation,
)
from tasks.standalone import (
    TrainedModel as TrainedModel,
)
from tasks.standalone import (
    apply_calibration as apply_calibration,
)
from tasks.standalone import (
    apply_calibration_task as apply_calibration_task,
)
from tasks.standalone import (
    audit_file as audit_file,
)
from tasks.standalone import (
    audit_file_task as audit_file_task,
)
from tasks.standalone import (
    audit_frame as audit_frame,
)
from tasks.standalone import (
    audit_frame_task as audit_frame_task,
)
from tasks.standalone import (
    estimate_performance as estimate_performance,
)
from tasks.standalone import (
    estimate_performance_task as estimate_performance_task,
)
from tasks.standalone import (
    evaluate_scores as evaluate_scores,
)
from tasks.standalone import (
    evaluate_scores_task as evaluate_scores_task,
)
from tasks.standalone import (
    explain_model as explain_model,
)
from tasks.standalone import (
    explain_model_task as explain_model_task,
)
from tasks.standalone import (
    fit_calibration as fit_calibration,
)
from tasks.standalone import (
    fit_calibration_task as fit_calibration_task,
)
from tasks.standalone import (
    fit_estimator as fit_estimator,
)
from tasks.standalone import (
    fit_estimator_task as fit_estimator_task,
)
from tasks.standalone import (
    gate_scores as gate_scores,
)
from tasks.standalone import (
    gate_scores_task as gate_scores_task,
)
from tasks.standalone import (
    measure_drift as measure_drift,
)
from tasks.standalone import (
    measure_drift_task as measure_drift_task,
)
from tasks.standalone import (
    predict_frame as predict_frame,
)
from tasks.standalone import (
    predict_frame_task as predict_frame_task,
)
from tasks.standalone import (
    profile_frame as profile_frame,
)
from tasks.standalone import (
    profile_frame_task as profile_frame_task,
)
from tasks.standalone import (
    train_xgboost as train_xgboost,
)
from tasks.standalone import (
    train_xgboost_task as train_xgboost_task,
)
from tasks.versions import open_store as open_store

__version__: str
