"""How an export is made, for all formats; each takes what concerns it."""

from dataclasses import dataclass

from s3_sam3.exports.outlines import DEFAULT_TOLERANCE
from s3_sam3.imaging.overlay import PLAIN, OverlayStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What may be chosen."""

    tolerance: float = DEFAULT_TOLERANCE
    """Pixels that outlines may run beside the exact ones; 0: exact, with many corners."""
    coco_polygons: bool = False
    """COCO with polygons in place of run lengths: readable by more programs, not exact."""
    style: OverlayStyle = PLAIN
    """How overlays look."""
