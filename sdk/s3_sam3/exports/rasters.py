"""Pictures made of masks: binary PNGs, cut-outs, overlays, label maps."""

# ruff: noqa: ARG001 - every format has the same arguments

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from s3_sam3.contracts.manifest import Rle
from s3_sam3.exports.items import ExportOptions, Pictured, instance_path, write_file
from s3_sam3.imaging import overlay, rle
from s3_sam3.imaging.label_map import label_map, mask_png


def write_pngs(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write `NAME/LABEL-PROMPT.png`, one bit per pixel: white is the instance."""
    return [
        write_file(folder / instance_path(item, prompt, instance), _binary_png(instance.rle))
        for item in items
        for prompt, instance in item.instances()
    ]


def write_cutouts(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """
    Write `NAME/LABEL-PROMPT.png` in RGBA, cropped to the mask.

    Raises NoPicture or WrongPicture.
    """
    paths: list[Path] = []
    for item in items:
        picture = item.open()
        paths += [
            write_file(folder / instance_path(item, prompt, instance), _cut(picture, instance.rle))
            for prompt, instance in item.instances()
        ]
    return paths


def write_overlays(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write `NAME.overlay.webp`; raises NoPicture or WrongPicture."""
    return [
        write_file(folder / f"{item.name}.overlay.webp", overlay_webp(item, options.style))
        for item in items
    ]


def write_label_maps(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write `NAME.labels.png`: 0 is background; 16-bit with over 255 instances."""
    return [write_file(folder / f"{item.name}.labels.png", labels_png(item)) for item in items]


def overlay_webp(item: Pictured, style: overlay.OverlayStyle = overlay.PLAIN) -> bytes:
    picture, manifest = item.open(), item.manifest
    labels = label_map(manifest.prompts, manifest.image.width, manifest.image.height)
    return overlay.overlay_webp(
        picture, labels, manifest.prompts, style=style, demo=manifest.model.demo
    )


def labels_png(item: Pictured) -> bytes:
    """The label map of one manifest, as the service's `mask.png`."""
    size = item.manifest.image
    return mask_png(label_map(item.manifest.prompts, size.width, size.height))


def _binary_png(mask: Rle) -> bytes:
    # Masks are column-major, and packing those is several times slower.
    pixels = np.ascontiguousarray(rle.decode(mask))
    height, width = pixels.shape
    return _png(Image.frombytes("1", (width, height), np.packbits(pixels, axis=1).tobytes()))


def _cut(picture: Image.Image, mask: Rle) -> bytes:
    left, top, inside = rle.crop(mask)
    height, width = inside.shape
    part = picture.crop((left, top, left + width, top + height))
    part.putalpha(Image.fromarray(inside))
    return _png(part)


def _png(picture: Image.Image) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
