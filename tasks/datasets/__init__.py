"""Rows at a commit, as frames or files, and what main's log says is published: what training, inference and reports read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
