"""
The negative control: today's `complete_task` without its fence.

It becomes what a queue does that completes by the task's id: any attempt that ever held the task
may finish it, and the attempt that holds it now is thrown out. Money is as safe as before, by its
unique index; only the question "is it still yours?" is not asked. Everything else of the function
stays as it is.
"""

from typing import Final

from bench.chaos.observer import Observer


CHANGES: Final = (
    (
        "if attempt.token is null or attempt.ended_at is not null then",
        "if attempt.token is null then",
    ),
    (
        "perform segmentation.end_attempt(p_token, 'done', p_timings => p_timings);",
        """perform segmentation.end_attempt(p_token, 'done', p_timings => p_timings);
        perform segmentation.end_attempt(others.token, 'lease_expired')
        from segmentation.attempts as others where others.result_id = attempt.result_id;""",
    ),
    (
        "status = 'done',",
        "status = 'done', error_code = null, error_message = null,",
    ),
    (
        "perform segmentation.settle_credits(task);",
        """if not exists (
            select 1 from public.usage_logs
            where usage_logs.result_id = task.id and usage_logs.action in ('capture', 'release')
        ) then
            perform segmentation.settle_credits(task);
        end if;""",
    ),
)


class ControlOutdatedError(Exception):
    """`complete_task` does not read as the control expects; rewrite CHANGES."""


def without_fence(definition: str) -> str:
    """The function's *definition* with CHANGES made. Raises: ControlOutdatedError."""
    for found, put in CHANGES:
        if definition.count(found) != 1:
            raise ControlOutdatedError(found)
        definition = definition.replace(found, put)
    return definition


async def take_the_fence_out(observer: Observer) -> None:
    """Replace the function in this run's own database, and see that it runs."""
    definition: str = await observer.one(
        "select pg_get_functiondef(oid) from pg_proc"
        " where proname = 'complete_task' and pronamespace = 'segmentation'::regnamespace"
    )
    await observer.execute(without_fence(definition))
