"""The tasks of our flows, one module a flow: each takes and returns values, and opens its store and registry itself."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
