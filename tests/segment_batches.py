"""`s3 segment` with many pictures, called in this process."""

from pathlib import Path

from fake_service import FakeService

from s3_sam3.cli.batch import Batch, Request
from s3_sam3.cli.batch_folder import BatchFolder
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


DOG = Request(prompts=(Prompt(id="p0", text="dog"),), options=SegmentOptions())


async def batch(
    service: FakeService, pictures: list[Path], out: Path, request: Request = DOG, jobs: int = 2
) -> Batch:
    """One call of the command."""
    made = Batch(folder=BatchFolder(out), request=request)
    await made.run(service, pictures, jobs=jobs, on_row=lambda row: None)
    return made
