"""Faults on purpose: as many as requested, and the same ones for the same run."""

from failing_receiver import message

from webhooks.replay.sends import Faults


MESSAGES = [message() for _ in range(1000)]


def test_a_run_resumed_has_the_same_faults() -> None:
    """The run's id and the message's id are the seed, so a resumed run has the same faults."""
    faults = Faults(dup=0.3, drop=0.2, truncate=0.1, delay_seconds=(0, 1), shuffle=True)
    whole = {send.name: send for send in faults.sends(MESSAGES, "run")}

    assert all(whole[send.name] == send for send in faults.sends(MESSAGES[500:], "run"))
    assert {s.name for s in faults.sends(MESSAGES, "other")} != set(whole)


def test_faults_come_as_often_as_asked() -> None:
    """Probabilities hold within a few hundredths over a thousand messages."""
    sends = Faults(dup=0.3, drop=0.2, truncate=0.1, delay_seconds=(0.5, 1)).sends(MESSAGES, "run")

    assert 1230 < len(sends) < 1370
    assert 0.15 < sum(send.dropped for send in sends) / len(sends) < 0.25
    assert 0.06 < sum(send.truncated for send in sends) / len(sends) < 0.14
    assert all(0.5 <= send.delay_seconds <= 1 for send in sends)


def test_without_faults_each_message_is_sent_once_in_order() -> None:
    """The default does nothing on purpose."""
    sends = Faults().sends(MESSAGES, "run")

    assert [send.message for send in sends] == MESSAGES
    assert all(send.body == send.message.body and not send.dropped for send in sends)
