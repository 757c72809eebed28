"""Requests with the same answers from every server: thresholds choose the number of objects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from bench.pipeline import pictures
from bench.pipeline.contenders import Bytes, Server
from bench.pipeline.plain import opened
from s3_sam3.contracts.pipeline import PredictRequest
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


OPTIONS: Final = SegmentOptions(floor=1)
"""No candidates below the threshold: the others make none."""


Scores = Callable[[Image.Image, Prompt], list[float]]
"""Every query's score for a prompt on a picture, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A picture's bytes, and prompts whose thresholds let through a known number of objects."""

    image: bytes
    prompts: tuple[Prompt, ...]

    def request(self, number: int, *, drawn: bool = False) -> PredictRequest:
        """A request to our server; its own scope keeps it from remembered features."""
        return PredictRequest(
            prompts=self.prompts, options=OPTIONS, scope=str(number), pictures=drawn
        )


def questions(
    scores: Scores, *, count: int, prompts: int, objects: int, side: int, seed: int
) -> list[Question]:
    """Draw *count* pictures, each with texts of its own; *scores* give the thresholds."""
    found = []
    for number in range(count):
        image = pictures.photo(side, seed + number)
        picture = opened(image)
        texts = pictures.words(prompts, seed + number)
        asked = [
            Prompt(text=text, threshold=_threshold(scores(picture, Prompt(text=text)), objects))
            for text in texts
        ]
        found.append(Question(image=image, prompts=tuple(asked)))
    return found


def bodies(
    server: Server, asked: Sequence[Question], *, count: int, first: int, drawn: bool = False
) -> list[Bytes]:
    """Write *count* requests, cycling through the questions; *first* makes their scopes unique."""
    return [
        server.write(one.image, one.request(number, drawn=drawn))
        for number, one in ((n, asked[n % len(asked)]) for n in range(first, first + count))
    ]


def _threshold(scores: list[float], objects: int) -> float:
    """Give a threshold between the last object's score and the next one's."""
    below = scores[objects] if objects < len(scores) else 0.0
    return (scores[objects - 1] + below) / 2
