"""Other formats than the manifest, made from it without the GPU: a file for each format."""

from client.exports.formats import FORMATS, Format, FormatName, export
from client.exports.options import ExportOptions
from client.exports.pictured import NoPicture, Pictured, WrongPicture
from masks.overlay import OverlayStyle


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
