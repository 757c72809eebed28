"""Faults on purpose: as much as was asked, and the same again for the same run."""

from failing_receiver import message

from webhooks.replay.faults import Faults


MESSAGES = [message() for _ in range(1000)]


def test_a_run_resumed_has_the_same_faults() -> None:
    """The dice are the run's and the message's, so a rest gets what the whole would have got."""
    faults = Faults(dup=0.3, drop=0.2, truncate=0.1, delay_seconds=(0, 1), shuffle=True)
    whole = {shot.name: shot for shot in faults.shots(MESSAGES, "run")}

    assert all(whole[shot.name] == shot for shot in faults.shots(MESSAGES[500:], "run"))
    assert {s.name for s in faults.shots(MESSAGES, "other")} != set(whole)


def test_faults_come_as_often_as_asked() -> None:
    """Probabilities hold within a few hundredths over a thousand messages."""
    shots = Faults(dup=0.3, drop=0.2, truncate=0.1, delay_seconds=(0.5, 1)).shots(MESSAGES, "run")

    assert 1230 < len(shots) < 1370
    assert 0.15 < sum(shot.dropped for shot in shots) / len(shots) < 0.25
    assert 0.06 < sum(shot.truncated for shot in shots) / len(shots) < 0.14
    assert all(0.5 <= shot.delay_seconds <= 1 for shot in shots)


def test_without_faults_each_message_is_sent_once_in_order() -> None:
    """The default does nothing on purpose."""
    shots = Faults().shots(MESSAGES, "run")

    assert [shot.message for shot in shots] == MESSAGES
    assert all(shot.body == shot.message.body and not shot.dropped for shot in shots)
