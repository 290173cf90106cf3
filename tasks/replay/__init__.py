"""A dated source fed as if it arrived day by day, and the loop held against fixed schedules."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
