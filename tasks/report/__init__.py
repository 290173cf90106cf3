"""The report of a use case: one HTML page that tells its story to somebody who was not there."""

from tasks.report.page import render
from tasks.report.story import Story, gather

__all__ = ["Story", "gather", "render"]
