"""A worker that may not work claims nothing and says why."""

from fake_pipeline import API_KEY, FakePipeline
from listeners import Listening, Spawn
from task_queue import Queue, until

from devstack.testing import SignedUpUser, Stack
from s3_sam3.contracts.tasks import TaskStatus


async def test_a_disabled_machine_claims_nothing_and_says_so(
    queue: Queue, spawn: Spawn, machine: SignedUpUser
) -> None:
    """A machine that the operator disabled logs it and waits, and works once it is enabled."""
    await queue.operate("set_machine_enabled", p_id=machine.id, p_enabled=False)
    listener = await spawn()
    task_id = await queue.submit()
    await until(lambda: listener.said("machine_disabled"))
    assert await queue.attempts(task_id) == []
    assert listener.process.returncode is None

    await queue.operate("set_machine_enabled", p_id=machine.id, p_enabled=True)
    await queue.reaches(task_id, TaskStatus.DONE)


async def test_a_wrong_password_ends_the_process(spawn: Spawn) -> None:
    """Credentials that Auth refuses are a wrong setting: exit status 78 and a sentence."""
    listener = await spawn(S3_MACHINE_PASSWORD="wrong")

    assert await listener.process.wait() == 78
    await until(lambda: listener.other)
    assert "S3_MACHINE_PASSWORD" in "".join(listener.other)


async def test_missing_credentials_end_the_process(spawn: Spawn) -> None:
    """Neither a machine user nor a service key: exit status 78, naming the variables."""
    listener = await spawn(S3_MACHINE_EMAIL="", SUPABASE_SERVICE_KEY="")

    assert await listener.process.wait() == 78
    await until(lambda: listener.other)
    assert "S3_MACHINE_EMAIL" in "".join(listener.other)


async def test_a_trusted_host_works_with_the_service_key(
    queue: Queue, spawn: Spawn, stack: Stack
) -> None:
    """The service key works without a machine user, and the log warns of it."""
    listener = await spawn(SUPABASE_SERVICE_KEY=stack.service_key, S3_MACHINE_EMAIL="")
    task_id = await queue.submit()
    await queue.reaches(task_id, TaskStatus.DONE)

    assert listener.said("service_key_in_use")
    assert stack.service_key not in str(listener.lines)


async def test_a_wrong_pipeline_key_claims_nothing(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """A pipeline that would refuse the picture is not given a task to refuse."""
    fake_pipeline.api_key = "another"
    task_id = await queue.submit()
    async with listening():
        await until(lambda: fake_pipeline.health_asked >= 2)
        assert await queue.attempts(task_id) == []

        fake_pipeline.api_key = API_KEY
        await queue.reaches(task_id, TaskStatus.DONE)
