"""Model versions: the protocol, and the factory that opens a registry by its URL."""

from tasks.registry.factory import open_registry
from tasks.registry.protocol import CHALLENGER, CHAMPION, By, Candidate, ModelRegistry

__all__ = ["CHALLENGER", "CHAMPION", "By", "Candidate", "ModelRegistry", "open_registry"]
