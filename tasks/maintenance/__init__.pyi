from .retention import expire_logs as expire_logs
from .retention import expired_summary as expired_summary
from .stale_branches import sweep_branches as sweep_branches
