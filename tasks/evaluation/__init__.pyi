from .baseline_models import baseline_scores as baseline_scores
from .gate import gate_challenger as gate_challenger
from .intervals import block_interval as block_interval
from .metrics import block_metric as block_metric
from .metrics import evaluate as evaluate
from .metrics import event_window as event_window
from .metrics import metric_expressions as metric_expressions
from .metrics import with_scores as with_scores
