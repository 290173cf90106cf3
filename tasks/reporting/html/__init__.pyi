from .data import Story as Story
from .data import gather_report as gather_report
from .page import render_report as render_report
