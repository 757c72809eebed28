"""Other formats than the manifest, made from it without the GPU: a file for each format."""

from s3_sam3.exports.formats import FORMATS, Format, FormatName, export
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import NoPicture, Pictured, WrongPicture
from s3_sam3.imaging.overlay import OverlayStyle


__all__ = [
    "FORMATS",
    "ExportOptions",
    "Format",
    "FormatName",
    "NoPicture",
    "OverlayStyle",
    "Pictured",
    "WrongPicture",
    "export",
]
