from .retention import expire_logs as expire_logs
from .retention import told as told
from .stale_branches import sweep as sweep
