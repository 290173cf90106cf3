"""Tasks for anybody's Prefect flow, on its own frames: no registered use case, no lake, no registry, no home, no setting.

Each subject is a plain function, and beside it the same function as a Prefect task, named with `_task` at its end:
`audit_frame(frame, model)` anywhere, `audit_frame_task(frame, model)` or `audit_frame_task.submit(frame, model)` in a flow.
They stand over the same functions of the wings as our own flows do, so a number here is the number there.

One rule for all of them: a column that is missing or of a wrong type, and an argument that is none of its choices, raise
UsageError; rows that are none, or too few to say anything, raise NotEnoughEvidence; each in one line.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
