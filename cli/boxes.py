"""Boxes as the command line writes them: `x1,y1,x2,y2`, in pixels of the upright picture."""

import typer
from pydantic import ValidationError

from s3_sam3.contracts.prompts import Box


Edges = tuple[float, float, float, float]


def edges(text: str) -> Edges:
    """Read `x1,y1,x2,y2`: left, top, right, bottom. Raises a usage error."""
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        msg = f"{text!r} is not x1,y1,x2,y2 (left, top, right, bottom in pixels)."
        raise typer.BadParameter(msg) from None
    return left, top, right, bottom


def exemplar(text: str) -> Box:
    """Read `x1,y1,x2,y2` or `x1,y1,x2,y2:negative`. Raises a usage error."""
    numbers, _, label = text.partition(":")
    try:
        return Box.model_validate({"xyxy": edges(numbers), "label": label or "positive"})
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        msg = f"{text!r}: {reason.removeprefix('Value error, ')}."
        raise typer.BadParameter(msg) from None
