from .monitoring_log import MONITORING_KIND as MONITORING_KIND
from .monitoring_log import newest_by_window as newest_by_window
from .monitoring_log import read_monitoring_log as read_monitoring_log
from .performance_estimation import build_estimator as build_estimator
from .window_report import find_predictions as find_predictions
from .window_report import monitor_window as monitor_window
from .window_report import windows_of as windows_of
