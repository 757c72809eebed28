"""What can go wrong with weights on disk, beside `pipeline.errors.WeightsUnavailable`."""


class NotConvertible(Exception):
    """These weights do not become the other layout; the message says why."""
