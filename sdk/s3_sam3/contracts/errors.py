"""
Every error code of S3: whose fault it is, whether to try again, what it costs, what to tell.

A code never changes its meaning. Whether it may be retried is a fact of the code, never decided
where it is caught. The codes of tasks stand in Postgres too (`segmentation.error_codes`), and a
test keeps the two equal.
"""

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Literal


class ErrorCode(StrEnum):
    """The spelling of an error in JSON."""

    # A request that could not be taken.
    UNAUTHENTICATED = "unauthenticated"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of an error, no secret
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INVALID_REQUEST = "invalid_request"
    EMPTY_BODY = "empty_body"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    FILE_TOO_LARGE = "file_too_large"
    IMAGE_TOO_LARGE = "image_too_large"
    INVALID_IMAGE = "invalid_image"
    SOURCE_NOT_FOUND = "source_not_found"
    PROMPT_EMPTY = "prompt_empty"
    PROMPT_TOO_LONG = "prompt_too_long"
    PROMPT_INVALID = "prompt_invalid"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    ALREADY_FINAL = "already_final"
    NOT_DONE = "not_done"
    RATE_LIMITED = "rate_limited"
    # A task that could not be done.
    MODEL_UNAVAILABLE = "model_unavailable"
    OUT_OF_MEMORY = "out_of_memory"
    PIPELINE_FAILED = "pipeline_failed"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    LEASE_EXPIRED = "lease_expired"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    NO_CAPABLE_WORKER = "no_capable_worker"
    EXPIRED = "expired"
    # Ours.
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorFact:
    """What is always true of one code."""

    status: int
    """HTTP status of the envelope that carries it."""
    retryable: bool
    """Whether the same request or attempt may succeed later."""
    message: str
    """One sentence for the user that says what to do."""
    task: bool = False
    """Whether a task's row may carry it (then it stands in `segmentation.error_codes` too)."""

    @property
    def fault(self) -> Literal["user", "ours"]:
        """Who has to do something about it."""
        return "ours" if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "user"

    @property
    def refund(self) -> Literal["all", "uncomputed"]:
        """The credits that a task which ends with it gives back: our faults cost nothing."""
        return "all" if self.fault == "ours" else "uncomputed"


FACTS: Final[dict[ErrorCode, ErrorFact]] = {
    ErrorCode.UNAUTHENTICATED: ErrorFact(
        401, False, "Send `Authorization: Bearer <Supabase access token>`."
    ),
    ErrorCode.TOKEN_EXPIRED: ErrorFact(
        401, False, "The access token has expired. Refresh the session and send the new one."
    ),
    ErrorCode.FORBIDDEN: ErrorFact(403, False, "This account may not do that."),
    ErrorCode.NOT_FOUND: ErrorFact(404, False, "There is nothing here under that id for you."),
    ErrorCode.METHOD_NOT_ALLOWED: ErrorFact(
        405, False, "This path does not take that method. `Allow` lists the ones it takes."
    ),
    ErrorCode.INVALID_REQUEST: ErrorFact(
        400, False, "The request does not fit the contract. `details` names each field."
    ),
    ErrorCode.EMPTY_BODY: ErrorFact(
        400, False, "The body is empty. Send the picture's bytes, or a form with one file."
    ),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: ErrorFact(
        415, False, "The bytes are no JPEG, PNG or WebP picture, whatever the name says."
    ),
    ErrorCode.FILE_TOO_LARGE: ErrorFact(413, False, "The file is larger than the limit."),
    ErrorCode.IMAGE_TOO_LARGE: ErrorFact(
        413, False, "The picture has more pixels than the limit. Send a smaller one."
    ),
    ErrorCode.INVALID_IMAGE: ErrorFact(
        422, False, "The picture is damaged or cut off. Export it again and upload it.", task=True
    ),
    ErrorCode.SOURCE_NOT_FOUND: ErrorFact(
        404, False, "No upload of yours has that image_url. Upload the picture first.", task=True
    ),
    ErrorCode.PROMPT_EMPTY: ErrorFact(422, False, "A prompt needs a text or at least one box."),
    ErrorCode.PROMPT_TOO_LONG: ErrorFact(
        422, False, "A text prompt may have at most 32 tokens. Use a short noun phrase.", task=True
    ),
    ErrorCode.PROMPT_INVALID: ErrorFact(
        422,
        False,
        "A prompt does not fit its picture. Boxes are in pixels, inside the upright picture.",
        task=True,
    ),
    ErrorCode.INSUFFICIENT_CREDITS: ErrorFact(
        402, False, "Not enough credits. Nothing was queued or charged."
    ),
    ErrorCode.IDEMPOTENCY_CONFLICT: ErrorFact(
        422, False, "That Idempotency-Key was used with another request. Use a new key."
    ),
    ErrorCode.ALREADY_FINAL: ErrorFact(
        409, False, "The task has already ended; there is nothing left to cancel."
    ),
    ErrorCode.NOT_DONE: ErrorFact(
        409, False, "The task is not `done`, so there is no result. Its status says why."
    ),
    ErrorCode.RATE_LIMITED: ErrorFact(
        429,
        True,
        "Too many tasks are waiting, or too many webhooks. Try again when there are fewer.",
    ),
    ErrorCode.MODEL_UNAVAILABLE: ErrorFact(
        503, True, "No model is ready on the worker. The task is tried again.", task=True
    ),
    ErrorCode.OUT_OF_MEMORY: ErrorFact(
        503,
        True,
        "The picture needs more GPU memory than any machine online has. Send a smaller one.",
        task=True,
    ),
    ErrorCode.PIPELINE_FAILED: ErrorFact(
        500, True, "The model failed on this picture. The task is tried again.", task=True
    ),
    ErrorCode.STORAGE_UNAVAILABLE: ErrorFact(
        503, True, "The object store did not answer. The task is tried again.", task=True
    ),
    ErrorCode.LEASE_EXPIRED: ErrorFact(
        500, True, "The worker fell silent. The task is tried again.", task=True
    ),
    ErrorCode.DEADLINE_EXCEEDED: ErrorFact(
        504, True, "The attempt outlived its hard deadline.", task=True
    ),
    ErrorCode.NO_CAPABLE_WORKER: ErrorFact(
        503,
        True,
        "No machine that can do this task is online. It waits until one comes.",
        task=True,
    ),
    ErrorCode.EXPIRED: ErrorFact(
        504,
        False,
        "The task still waited after its `deadline_seconds`. Nothing was charged.",
        task=True,
    ),
    ErrorCode.UPSTREAM_UNAVAILABLE: ErrorFact(
        503, True, "The database or the object store does not answer. Try again shortly."
    ),
    ErrorCode.SHUTTING_DOWN: ErrorFact(503, True, "This server is stopping. Try again."),
    ErrorCode.INTERNAL: ErrorFact(
        500, True, "Something failed on our side. Quote `meta.request_id`.", task=True
    ),
}

TASK_ERROR_CODES: Final = frozenset(code for code, fact in FACTS.items() if fact.task)
"""Codes that a task's row may carry."""
