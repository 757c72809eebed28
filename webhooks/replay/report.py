"""What the run prints: lines for people, one JSON document for programs."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from s3_sam3.messages import Attempt
from s3_sam3.recordings import redacted_url
from webhooks.replay.job import Plan
from webhooks.replay.selection import Exclusion
from webhooks.replay.sends import Ending, Outcome


_COLOURS: Final = {
    Ending.OK: "green",
    Ending.FAILED: "red",
    Ending.AGAIN: "yellow",
    Ending.DROPPED: "magenta",
    Ending.SKIPPED: "yellow",
}

_EXCLUDED: Final = {
    Exclusion.DISABLED: "the endpoint is switched off, or answered 410."
    " --include-disabled sends them.",
    Exclusion.INSIDE: "the endpoint's URL leads to this machine or its network."
    " --target-allow HOST sends them.",
}

_FORGOTTEN: Final = (
    "The outbox does not learn the outcome: the same command would send the same again. Until"
    " nothing is left, --resume the run; --record FILE keeps the outcome."
)

_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What differs between the recorded attempt and the new one."""

    status: tuple[str, str] | None
    """None: the same."""
    body: tuple[str, ...]
    """One line for each JSON path that changed, or one for the text."""
    latency_ms: tuple[int, int]

    @property
    def same(self) -> bool:
        """Whether status and body are as before; latency never is."""
        return self.status is None and not self.body


def compared(before: Attempt, after: Attempt) -> Diff:
    changed = before.summary != after.summary
    return Diff(
        status=(before.summary, after.summary) if changed else None,
        body=tuple(_body_changes(before.answer, after.answer)),
        latency_ms=(before.latency_ms, after.latency_ms),
    )


@dataclass(kw_only=True)
class Report:
    """Lines as things happen, or one JSON document at the end."""

    as_json: bool
    diff: bool
    attempts: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[Ending] = field(default_factory=Counter)
    differing: int = 0
    given_up: dict[str, str] = field(default_factory=dict)
    """Hosts, and why."""
    out: Console = field(default_factory=lambda: Console(soft_wrap=True, highlight=False))
    err: Console = field(
        default_factory=lambda: Console(stderr=True, soft_wrap=True, highlight=False)
    )

    def plan(self, plan: Plan) -> None:
        if self.as_json:
            return
        table = Table(title=f"replay from {plan.source}", title_justify="left")
        for column in ("type", "messages", "failed", "missing", "ok"):
            table.add_column(column, justify="left" if column == "type" else "right")
        for kind, counts in plan.by_type.items():
            shown = [counts.get(state, 0) for state in ("failed", "missing", "ok")]
            table.add_row(escape(kind), *(f"{n:,}" for n in (sum(shown), *shown)))
        self.out.print(table)
        self._extent(plan)

    def _extent(self, plan: Plan) -> None:
        if plan.first and plan.last:
            self.out.print(f"first {_utc(plan.first)}, last {_utc(plan.last)}")
        for host, count in plan.by_host.items():
            self.out.print(f"{count:,} to {escape(host)}")
        for signer, count in plan.by_signer.items():
            self.out.print(f"{count:,} signed by {signer}")
        for why, count in plan.excluded.items():
            self.out.print(f"[yellow]{count:,} excluded: {_EXCLUDED[why]}[/]")
        if plan.gone:
            self.out.print(f"[yellow]{plan.gone:,} are no longer in the source.[/]")
        self.out.print(f"{plan.sends:,} sends, {plan.seconds:,.1f} s or more")
        if plan.forgotten:
            self.out.print(f"[yellow]{_FORGOTTEN}[/]")
        if plan.left:
            self.out.print(f"[yellow]{plan.left:,} more are over --max, for --resume.[/]")

    def outcome(self, outcome: Outcome) -> None:
        self.counts[outcome.ending] += 1
        attempt, before = outcome.attempt, outcome.send.message.last
        diff = compared(before, attempt) if self.diff and before and attempt else None
        self.differing += diff is not None and not diff.same
        if self.as_json:
            self.attempts.append(_document(outcome, diff))
            return
        how = outcome.ending.value if attempt is None else attempt.summary
        took = "" if attempt is None else f"{attempt.latency_ms} ms"
        why = "" if outcome.why is None else f"  {escape(outcome.why)}"
        self.out.print(
            f"[{_COLOURS[outcome.ending]}]{escape(how):>4}[/] {took:>8}  {escape(outcome.sent_id)}"
            f"  {escape(outcome.send.message.type)}  {escape(redacted_url(str(outcome.url)))}{why}"
        )
        if diff is not None:
            was, now = diff.latency_ms
            status = [f"status: {diff.status[0]} -> {diff.status[1]}"] if diff.status else []
            for line in (*status, *diff.body, f"latency: {was} -> {now} ms"):
                self.out.print(f"       {escape(line)}")

    def end(self, plan: Plan, *, sent: bool, unfinished: int = 0, gone: int = 0) -> None:
        """Sum up; *unfinished* sends are left for a resumed run, *gone* messages for none."""
        summary = {ending.value: self.counts[ending] for ending in Ending}
        if self.as_json:
            document = {
                "plan": plan.model_dump(mode="json"),
                "sent": sent,
                "attempts": self.attempts,
                "given_up": self.given_up,
                "summary": {**summary, "left": unfinished, "gone": gone},
            }
            if self.diff:
                document["differing"] = self.differing
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
            return
        if not sent:
            how = ": all of it was excluded." if plan.all_excluded else "; --yes sends."
            self.err.print(f"Nothing was sent{how}")
            return
        self.out.print(", ".join(f"{count:,} {name}" for name, count in summary.items() if count))
        if self.diff:
            self.out.print(f"{self.differing:,} differ from the recorded attempt")
        for why in self.given_up.values():
            self.err.print(f"[yellow]{escape(why)}[/]")
        if gone:
            self.err.print(f"[red]{gone:,} are no longer in the source, and were not sent.[/]")
        if unfinished:
            self.resumable(plan.run)

    def resumable(self, run: str) -> None:
        self.err.print(f"The rest: s3 replay --resume {run} --yes")


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _document(outcome: Outcome, diff: Diff | None) -> dict[str, Any]:
    attempt = outcome.attempt
    found: dict[str, Any] = {
        "id": outcome.send.message.id,
        "copy": outcome.send.copy,
        "sent_id": outcome.sent_id,
        "type": outcome.send.message.type,
        "task_id": outcome.send.message.key,
        "url": redacted_url(str(outcome.url)),
        "ending": outcome.ending.value,
        "status": attempt and attempt.status,
        "latency_ms": attempt and attempt.latency_ms,
        "error": attempt and attempt.error,
        "why": outcome.why,
    }
    if diff is not None:
        found["diff"] = {
            "status": diff.status and list(diff.status),
            "body": list(diff.body),
            "latency_ms": list(diff.latency_ms),
        }
    return found


def _body_changes(before: bytes, after: bytes) -> Iterator[str]:
    try:
        yield from _value_changes("$", json.loads(before), json.loads(after))
    except ValueError:
        # No JSON, or only its beginning was kept: compared as far as both are known.
        known = min(len(before), len(after))
        if before[:known] != after[:known] or (not known and before != after):
            old, new = (_short(repr(each.decode(errors="replace"))) for each in (before, after))
            yield f"text: {old} -> {new}"


def _value_changes(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _value_changes(f"{path}.{name}", before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _value_changes(f"{path}[{index}]", old, new)
    elif before != after or type(before) is not type(after):
        yield f"{path}: {_short(json.dumps(before))} -> {_short(json.dumps(after))}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
