"""Rows at a commit, as frames or files: what training, inference and monitoring read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
