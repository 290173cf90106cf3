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
from tasks.orchestration import LakeFSCredentials as LakeFSCredentials
from tasks.replay import land_flights as land_flights

# Standalone tasks: `from tasks.standalone import NAME as NAME`, one line each, between this line and the next import.
from tasks.versions import open_store as open_store

__version__: str
