from .factory import open_store as open_store
from .protocol import MAIN as MAIN
from .protocol import VersionStore as VersionStore
from .read_errors import is_lake_gone as is_lake_gone
from .read_errors import lake_gone as lake_gone
from .transaction import commit_and_merge as commit_and_merge
