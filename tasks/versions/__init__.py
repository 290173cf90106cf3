"""Data under version control: the protocol, and the factory that opens a repository by its URL."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
