"""What people read: dashboard artifacts, model cards, the report, and where a use case stands."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
