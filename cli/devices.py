"""`s3 worker --devices`: the GPUs of a host, and the settings of each one's programs."""

import re
from dataclasses import dataclass
from typing import Final

import typer


_KNOWN: Final = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device with a pipeline and a listener of its own."""

    name: str | None = None
    """Value of `SAM3_DEVICE`; None: as it is set already."""
    number: int | None = None
    """Among several, from 0; None: it is the only one."""

    @property
    def suffix(self) -> str:
        """Tells its programs' names from those of other devices."""
        return "" if self.number is None else f"-{self.number}"

    def environment(self, *, port: str, webhook_port: str = "") -> dict[str, str]:
        """Settings of its programs beside the host's: device and ports."""
        given = {"PIPELINE_PORT": port}
        if self.name is not None:
            given["SAM3_DEVICE"] = self.name
        if self.number is not None:
            given["PIPELINE_PORT"] = str(int(port) + self.number)
            if webhook_port:
                given["LISTENER_WEBHOOK_PORT"] = str(int(webhook_port) + self.number)
        return given


ONLY: Final = Device()
"""The device of a host without `--devices`."""


def parse(text: str | None, *, port: str) -> list[Device]:
    """
    Read `cuda:0,cuda:1`, of which the first gets *port*; None: the one device that is set already.

    Raises: typer.BadParameter.
    """
    if text is None:
        return [ONLY]
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not _KNOWN.fullmatch(name):
            raise typer.BadParameter(
                f"{name!r} is no device. Write cpu, cuda or cuda:N, with commas between them."
            )
    if len(names) == 1:
        return [Device(name=names[0])]
    _check_side_by_side(names)
    _check_ports(port, len(names))
    return [Device(name=name, number=number) for number, name in enumerate(names)]


def _check_side_by_side(names: list[str]) -> None:
    """Several `cpu` are allowed: the tests use them."""
    if "auto" in names:
        raise typer.BadParameter("auto means the one device that there is, so it stands alone.")
    gpus = ["cuda:0" if name == "cuda" else name for name in names if name.startswith("cuda")]
    for gpu in gpus:
        if gpus.count(gpu) > 1:
            raise typer.BadParameter(
                f"{gpu} is named twice. A second model would only take memory from the first;"
                " LISTENER_CONCURRENCY gives one model more work."
            )


def _check_ports(port: str, count: int) -> None:
    if not port.isdecimal() or not 1 <= int(port) <= _LAST_PORT + 1 - count:
        raise typer.BadParameter(
            f"{count} devices need {count} ports from PIPELINE_PORT on, which is {port!r}."
        )
