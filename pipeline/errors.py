"""
What can go wrong in the pipeline.

PipelineError
├── Refused             the request is at fault: picture, prompt, form
├── Busy                too many requests are inside already
├── NotReady            no model yet, or never
├── OutOfMemory         the picture did not fit, even in smaller steps
├── ModelFailed         the model raised on this picture
├── Withdrawn           the caller has gone
├── TooLate             the request's own deadline has passed
├── ModelDied           the GPU is lost to this process
└── SetupFailed         no model to serve with, and what to do about it
    ├── WeightsUnavailable
    └── SelfTestFailed      the model answers nonsense
"""

from s3_sam3.contracts.errors import FACTS, ErrorCode


class PipelineError(Exception):
    """Carries the code that the caller gets and one sentence for the reader."""

    code: ErrorCode = ErrorCode.PIPELINE_FAILED

    def __init__(self, message: str = "", *, code: ErrorCode | None = None) -> None:
        self.code = code or self.code
        self.message = message or FACTS[self.code].message
        super().__init__(self.message)


class Refused(PipelineError):
    code = ErrorCode.INVALID_REQUEST


class Busy(PipelineError):
    """Too many requests are in the pipeline already."""

    code = ErrorCode.MODEL_UNAVAILABLE

    def __init__(self, message: str = "", *, seconds: int = 1) -> None:
        """Tell the caller to come back after *seconds*."""
        super().__init__(message)
        self.seconds = seconds


class NotReady(PipelineError):
    code = ErrorCode.MODEL_UNAVAILABLE


class OutOfMemory(PipelineError):
    code = ErrorCode.OUT_OF_MEMORY


class ModelFailed(PipelineError):
    """The model failed on this picture."""


class Withdrawn(PipelineError):
    """The caller has gone, so the work stops."""


class TooLate(PipelineError):
    code = ErrorCode.DEADLINE_EXCEEDED


class ModelDied(PipelineError):
    """
    The GPU is lost to this process; it must be started again.

    Raised for the picture it died over, whose attempt counts; later ones get `NotReady`.
    """


class SetupFailed(PipelineError):
    code = ErrorCode.MODEL_UNAVAILABLE


class WeightsUnavailable(SetupFailed):
    """There are no weights to load."""


class SelfTestFailed(SetupFailed):
    """The model was loaded, but its answer to a picture that the code draws is wrong."""
