"""Which send is next."""

from failing_receiver import message

from s3_sam3.messages import Message
from webhooks.replay.sends import Faults, HostQueues, Order, TaskQueue


def queues(*messages: Message, order: Order = Order.KEY) -> HostQueues:
    """Of these messages, whose hosts are their URLs."""
    return HostQueues(
        Faults().sends(messages, "run"), order=order, host_of=lambda send: str(send.message.url)
    )


def host_of(queue: TaskQueue | None) -> str | None:
    """Of what was taken."""
    return queue and queue.host


def test_a_held_host_is_passed_over() -> None:
    """Until its time has come; control: before it asked, the oldest came first."""
    both = queues(message(url="a"), message(url="a"), message(url="b"))
    first = both.take(0)
    assert first is not None
    assert first.host == "a"
    both.give_back(first)
    both.hold("a", 100)

    assert host_of(both.take(1)) == "b"
    assert both.take(99) is None
    assert both.next_at() == 100
    assert host_of(both.take(100)) == "a"


def test_a_slow_host_does_not_get_hold_of_all_requests() -> None:
    """While it answers nothing, every request that ends is followed by one to the other."""
    both = queues(*(message(url="a") for _ in range(9)), *(message(url="b") for _ in range(9)))
    taken = [both.take(0) for _ in range(4)]
    assert [host_of(each) for each in taken] == ["a", "b", "a", "b"]

    for _ in range(5):
        done = next(each for each in taken if host_of(each) == "b")
        assert done is not None
        taken.remove(done)
        done.pop()
        both.give_back(done)
        taken.append(both.take(0))

    assert [host_of(each) for each in taken].count("b") == 2


def test_the_same_task_at_two_hosts_is_two_queues() -> None:
    """What one user's receiver refuses does not stop the other's."""
    both = queues(message(url="a", key="t"), message(url="b", key="t"), message(url="a", key="t"))

    assert [host_of(both.take(0)) for _ in range(3)] == ["a", "b", None]


def test_a_host_that_was_given_up_hands_over_the_rest() -> None:
    """What waits at once, what is being sent when it is given back; nothing is lost or doubled."""
    sent = [message(url="a", key=key) for key in ("x", "x", "y", "z")]
    only = queues(*sent)
    queue = only.take(0)
    assert queue is not None

    waiting = only.give_up("a")
    queue.pop()
    back = only.give_back(queue)

    assert [send.message for send in waiting] == sent[2:]
    assert [send.message for send in back] == sent[1:2]
    assert only.empty
    assert not only.busy
