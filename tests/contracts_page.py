"""docs/contracts/api-contracts.md as tables, and the same tables as the code would write them."""

import re
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from api.app import ROUTES
from api.route import Route
from s3_sam3.contracts import (
    bodies,
    limits,
    manifest,
    notices,
    pipeline,
    prompts,
    tasks,
    webhooks,
)
from s3_sam3.contracts.errors import FACTS, ErrorCode


PAGE: Final = Path(__file__).parents[1] / "docs/contracts/api-contracts.md"
PUBLIC_MODELS: Final = (
    bodies.Upload,
    bodies.SegmentRequest,
    bodies.Needs,
    prompts.Prompt,
    prompts.Box,
    prompts.SegmentOptions,
    bodies.Task,
    bodies.TaskError,
    bodies.TaskNeeds,
    bodies.Result,
    bodies.ResultDetail,
    bodies.ResultPage,
    bodies.RethresholdRequest,
    bodies.Rethresholded,
    bodies.ProjectRequest,
    bodies.Project,
    bodies.ProjectList,
    bodies.Me,
    bodies.UsageEntry,
    bodies.UsagePage,
    webhooks.WebhookRequest,
    webhooks.WebhookChange,
    webhooks.Webhook,
    webhooks.NewWebhook,
    webhooks.WebhookList,
    webhooks.WebhookSecret,
    webhooks.Delivery,
    webhooks.DeliveryAttempt,
    webhooks.DeliveryPage,
    webhooks.QueuedDelivery,
    bodies.Deleted,
    bodies.ErrorBody,
    bodies.Meta,
)
INTERNAL_MODELS: Final = (
    pipeline.PredictRequest,
    pipeline.PredictProgress,
    pipeline.HealthAnswer,
    manifest.Manifest,
    manifest.ImageSize,
    manifest.ModelInfo,
    manifest.Timings,
    manifest.PromptResult,
    manifest.Instance,
    manifest.Candidate,
    manifest.Rle,
)
WEBHOOK_MODELS: Final = (
    webhooks.TaskEvent,
    webhooks.TaskEventData,
    webhooks.EventError,
    webhooks.WebhookTest,
    webhooks.WebhookTestData,
)
LIMITS: Final = tuple(
    name
    for name in vars(limits)
    if name.isupper() and isinstance(getattr(limits, name), int | float)
)

Table = list[tuple[str, ...]]


def tables_of(text: str) -> dict[str, Table]:
    """The first table under each heading, without its header and rule."""
    found: dict[str, Table] = {}
    for part in re.split(r"^#{2,4} ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        rows = [line for line in body.splitlines() if line.startswith("|")]
        if rows:
            found[heading.strip()] = [_cells(row) for row in rows[2:]]
    return found


def expected() -> dict[str, Table]:
    """What the code says, under the page's headings."""
    return {
        "Routes": [_route(route) for route in ROUTES],
        "Error codes": [_error(code) for code in ErrorCode],
        "Task statuses": [
            (f"`{status}`", "yes" if status in tasks.FINAL_STATUSES else "no")
            for status in tasks.TaskStatus
        ],
        "Limits": [(f"`{name}`", f"{getattr(limits, name):,}") for name in LIMITS],
        "Realtime": [
            (f"`{notices.user_topic('{user_id}')}`", f"`{notices.TASK_CHANGED}`"),
            (f"`{notices.WORKERS_TOPIC}`", f"`{notices.TASK_PENDING}`"),
        ],
        "Webhook events": [
            (f"`{event}`", "yes" if event in webhooks.DEFAULT_EVENTS else "no")
            for event in webhooks.WebhookEvent
        ],
        "Webhook schedule": [
            (str(number), f"{seconds:,}")
            for number, seconds in enumerate(webhooks.RETRY_SECONDS, start=1)
        ],
        "Parts of the answer": [
            (f"`{part}`", f"`{kind}`") for part, kind in pipeline.ANSWER_TYPES.items()
        ],
        **{
            f"`{model.__name__}`": fields(model)
            for model in (*PUBLIC_MODELS, *INTERNAL_MODELS, *WEBHOOK_MODELS)
        },
    }


def fields(model: type[BaseModel]) -> Table:
    """One row per field: name, type, whether it must be there, meaning."""
    schema = model.model_json_schema()
    required = set(schema.get("required", []))
    return [
        (
            f"`{name}`",
            _type(field),
            "yes" if name in required else _default(field),
            str(field.get("description", "")).replace("|", "\\|"),
        )
        for name, field in schema["properties"].items()
    ]


def _route(route: Route) -> tuple[str, ...]:
    asked = [f"`{name}`" for name in (*route.query.model_fields, *route.headers)]
    if route.request is not None:
        asked.insert(0, f"`{route.request.__name__}`")
    return (
        f"`{route.method} {route.path}`",
        "none" if route.public else "user",
        " ".join(asked),
        str(route.status),
        f"`{route.answer.__name__}`" if route.answer else "no envelope",
        " ".join(f"`{code}`" for code in route.own_codes),
    )


def _error(code: ErrorCode) -> tuple[str, ...]:
    fact = FACTS[code]
    return (
        f"`{code}`",
        str(fact.status),
        "yes" if fact.retryable else "no",
        "yes" if fact.task else "no",
        fact.fault,
        fact.refund if fact.task else "",
        fact.message.replace("|", "\\|"),
    )


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "$ref" in field:
        return f"`{field['$ref'].rsplit('/', 1)[1]}`"
    if "prefixItems" in field:
        return f"array of {len(field['prefixItems'])} {_type(field['prefixItems'][0])}"
    if field.get("type") == "array":
        return f"array of {_type(field['items'])}"
    if "const" in field:
        return str(field["const"])
    return " ".join(filter(None, (str(field.get("type", "any")), field.get("format", ""))))


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None or value in ([], ""):
        return "no"
    return f"no: {value}" if not isinstance(value, dict) else "no"


def _cells(row: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
