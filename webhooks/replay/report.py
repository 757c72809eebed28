"""What people and programs are told."""

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from webhooks.replay import redaction
from webhooks.replay.leaving_out import Why
from webhooks.replay.outcome import Ending, Outcome
from webhooks.replay.plan import Plan


_COLOURS: Final = {
    Ending.OK: "green",
    Ending.FAILED: "red",
    Ending.AGAIN: "yellow",
    Ending.DROPPED: "magenta",
    Ending.SKIPPED: "yellow",
}

_LEFT_OUT: Final = {
    Why.DISABLED: "the endpoint is switched off, or answered 410. --include-disabled sends them.",
    Why.INSIDE: "the endpoint's URL leads to this machine or its network."
    " --target-allow HOST sends them.",
}

_FORGOTTEN: Final = (
    "The outbox is not told how it went: the same line would send the same again. To go on until "
    "nothing is left, --resume the run; --record FILE keeps how it went."
)


@dataclass(kw_only=True)
class Report:
    """Lines for people as they happen, or one JSON document at the end."""

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
        """Show what would be sent."""
        if self.as_json:
            return
        table = Table(title=f"replay from {plan.source}", title_justify="left")
        for column in ("type", "messages", "failed", "missing", "ok"):
            table.add_column(column, justify="left" if column == "type" else "right")
        for kind, counts in plan.by_type.items():
            shown = [counts.get(standing, 0) for standing in ("failed", "missing", "ok")]
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
        for why, count in plan.left_out.items():
            self.out.print(f"[yellow]{count:,} left out: {_LEFT_OUT[Why(why)]}[/]")
        if plan.gone:
            self.out.print(f"[yellow]{plan.gone:,} are no longer in the source.[/]")
        self.out.print(f"{plan.shots:,} sends, {plan.seconds:,.1f} s or more")
        if plan.forgotten:
            self.out.print(f"[yellow]{_FORGOTTEN}[/]")
        if plan.left:
            self.out.print(f"[yellow]{plan.left:,} more are over --max, for --resume.[/]")

    def outcome(self, outcome: Outcome) -> None:
        """Tell how one shot went."""
        self.counts[outcome.ending] += 1
        diff = outcome.diff if self.diff else None
        self.differing += diff is not None and not diff.same
        if self.as_json:
            self.attempts.append(_document(outcome, with_diff=self.diff))
            return
        attempt = outcome.attempt
        how = outcome.ending.value if attempt is None else attempt.told
        took = "" if attempt is None else f"{attempt.latency_ms} ms"
        why = "" if outcome.why is None else f"  {escape(outcome.why)}"
        self.out.print(
            f"[{_COLOURS[outcome.ending]}]{escape(how):>4}[/] {took:>8}  {escape(outcome.sent_id)}"
            f"  {escape(outcome.shot.message.type)}  {escape(redaction.url(str(outcome.url)))}{why}"
        )
        if diff is not None:
            before, after = diff.latency_ms
            status = [f"status: {diff.status[0]} -> {diff.status[1]}"] if diff.status else []
            for line in (*status, *diff.body, f"latency: {before} -> {after} ms"):
                self.out.print(f"       {escape(line)}")

    def end(self, plan: Plan, *, sent: bool, unfinished: int = 0, gone: int = 0) -> None:
        """Sum up; *unfinished* shots are for a resumed run, *gone* messages for nobody any more."""
        summary = {ending.value: self.counts[ending] for ending in Ending}
        if self.as_json:
            document = {
                "plan": plan.document(),
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
            how = ": all of it was left out." if plan.all_left_out else "; --yes sends."
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
        """Say how to go on."""
        self.err.print(f"The rest: s3 replay --resume {run} --yes")


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _document(outcome: Outcome, *, with_diff: bool) -> dict[str, Any]:
    attempt = outcome.attempt
    found: dict[str, Any] = {
        "id": outcome.shot.message.id,
        "copy": outcome.shot.copy,
        "sent_id": outcome.sent_id,
        "type": outcome.shot.message.type,
        "task_id": outcome.shot.message.key,
        "url": redaction.url(str(outcome.url)),
        "ending": outcome.ending.value,
        "status": attempt and attempt.status,
        "latency_ms": attempt and attempt.latency_ms,
        "error": attempt and attempt.error,
        "why": outcome.why,
    }
    if with_diff and (diff := outcome.diff) is not None:
        found["diff"] = {
            "status": diff.status and list(diff.status),
            "body": list(diff.body),
            "latency_ms": list(diff.latency_ms),
        }
    return found
