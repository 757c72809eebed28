"""
Who may do what, as data.

Every row of a table belongs to user A. A cell says what somebody gets who tries the command on it:

- `ROW`: the command reaches the row (reads it, makes it, changes it, deletes it).
- `NOTHING`: no error and no row; as if it were not there.
- `REFUSED`: an error: 401 for anon, 403 for anybody signed in.
"""

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """Who asks."""

    ANON = "anon"
    OWNER = "user A"
    OTHER = "user B"
    MACHINE = "machine"
    DISABLED = "disabled machine"


class Command(StrEnum):
    """What is tried."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


class Gets(StrEnum):
    """What comes of it."""

    ROW = "the row"
    NOTHING = "nothing"
    REFUSED = "refused"


_ALL_REFUSED: Final = dict.fromkeys(Role, Gets.REFUSED)
_OWN_ONLY: Final = dict.fromkeys(Role, Gets.NOTHING) | {
    Role.ANON: Gets.REFUSED,
    Role.OWNER: Gets.ROW,
}
# Inserting a row in A's name: only A succeeds; to the others the policy says no.
_AS_OWNER_ONLY: Final = _ALL_REFUSED | {Role.OWNER: Gets.ROW}
_READ_ONLY: Final = {
    Command.SELECT: _OWN_ONLY,
    Command.INSERT: _ALL_REFUSED,
    Command.UPDATE: _ALL_REFUSED,
    Command.DELETE: _ALL_REFUSED,
}

TABLES: Final[dict[str, dict[Command, dict[Role, Gets]]]] = {
    "users_profile": _READ_ONLY,
    "projects": {
        Command.SELECT: _OWN_ONLY,
        Command.INSERT: _AS_OWNER_ONLY,
        Command.UPDATE: _OWN_ONLY,
        Command.DELETE: _OWN_ONLY,
    },
    "segmentation_results": {
        Command.SELECT: _OWN_ONLY,
        Command.INSERT: _AS_OWNER_ONLY,
        Command.UPDATE: _ALL_REFUSED,
        Command.DELETE: _ALL_REFUSED,
    },
    "usage_logs": _READ_ONLY,
    "webhook_endpoints": _READ_ONLY,
    "webhook_deliveries": _READ_ONLY,
    "webhook_attempts": _READ_ONLY,
}
"""Tables of the exposed schema."""

UNEXPOSED: Final = frozenset(
    {
        "attempts",
        "error_codes",
        "fair_clocks",
        "queue_classes",
        "machines",
        "object_deletions",
        "idempotency_keys",
        "tiers",
        "user_queues",
        "wake_targets",
        "webhook_secrets",
        "workers",
    }
)
"""Tables of the schema `segmentation`; REST refuses the whole schema to everybody."""

PUBLISHED: Final = frozenset({"segmentation_results"})
"""Tables whose changes Realtime tells to those who may select the row."""

TOPICS: Final[dict[str, dict[Role, bool]]] = {
    "user:{owner}": dict.fromkeys(Role, False) | {Role.OWNER: True},
    "workers:image": dict.fromkeys(Role, False) | {Role.MACHINE: True},
    "elsewhere": dict.fromkeys(Role, False),
}
"""Private topics, and whether somebody may join."""

WORKER_FUNCTIONS: Final[dict[str, dict[str, object]]] = {
    "claim_tasks": {"p_worker": "matrix", "p_limit": 0, "p_capabilities": {}},
    "renew_lease": {"p_token": 0},
    "report_progress": {"p_token": 0, "p_progress": 0.5, "p_computed": 0},
    "complete_task": {
        "p_token": 0,
        "p_manifest_url": "results/x",
        "p_mask_image_url": "results/x",
        "p_overlay_image_url": "results/x",
        "p_instance_count": 0,
        "p_summary": {},
    },
    "fail_task": {"p_token": 0, "p_error_code": "internal"},
    "release_task": {"p_token": 0},
    "reap_tasks": {"p_limit": 0},
    "attempt_objects": {"p_token": 0},
}
"""Functions that only an enabled machine may call, and arguments that change nothing."""

OPERATOR_FUNCTIONS: Final[dict[str, dict[str, object]]] = {
    "register_machine": {"p_id": "{owner}", "p_name": "x"},
    "set_machine_enabled": {"p_id": "{owner}", "p_enabled": True},
    "grant_credits": {"p_user_id": "{owner}", "p_credits": 1, "p_reason": "x"},
    "top_up_credits": {"p_user_id": "{owner}", "p_credits": 1, "p_event_id": "x"},
    "refund_task": {"p_result_id": "{owner}", "p_reason": "x"},
    "set_user_tier": {"p_user_id": "{owner}", "p_tier": "internal"},
    "take_object_deletions": {},
    "finish_object_deletion": {"p_id": 1},
    "prune_results": {},
    "orphaned_objects": {"p_keys": ["x"]},
    "ledger_mismatches": {},
    "claim_deliveries": {"p_limit": 1},
    "settle_delivery": {"p_id": "x", "p_claim_token": 0, "p_status_code": 200, "p_latency_ms": 0},
    "webhook_secrets_of": {"p_endpoint_id": "{owner}"},
    "prune_webhooks": {},
    "register_wake_target": {"p_name": "x", "p_url": "http://127.0.0.1:9/x"},
    "rotate_wake_secret": {"p_name": "x"},
    "remove_wake_target": {"p_name": "x"},
    "wake_targets": {},
}
"""Functions that nobody of the matrix may call."""

OWNER_FUNCTIONS: Final[dict[str, dict[str, object]]] = {
    "update_webhook": {"p_id": "{webhook}", "p_description": "x"},
    "rotate_webhook_secret": {"p_id": "{webhook}"},
    "test_webhook": {"p_id": "{webhook}"},
    "redeliver_webhook": {"p_delivery_id": "{delivery}"},
    "delete_webhook": {"p_id": "{webhook}"},
}
"""Functions on a webhook of user A; to anybody else it is not there."""
