"""
Run lengths of masks at the picture's size, traced along the masks' contours.

The stock way upsamples each mask to the picture's size by bilinear interpolation and compares every
pixel with the threshold. But down one column of pixels the interpolated value changes linearly
from cell to cell, so between two cells it crosses the threshold at most once, and only where the
cells around it differ. Run lengths consist of these crossings. So time and memory grow with the
length of the contours, not with the picture.

A crossing is computed, then corrected by the values of the pixels beside it, in float32 as
`torch.nn.functional.interpolate` computes them: the masks equal the stock ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.model import device
from pipeline.model.work_items import View
from s3_sam3.contracts.manifest import Rle
from s3_sam3.imaging import rle


#: Bytes that one column of pixels in a gap between two cells takes meanwhile.
_BYTES_PER_PLACE: Final = 112

#: Bytes that one cell of a mask takes meanwhile: its probability, a padded copy, flags.
_BYTES_PER_CELL: Final = 16


@dataclass(frozen=True, slots=True)
class Canvas:
    """The picture, and the part of it that the masks cover."""

    width: int
    height: int
    view: View

    @property
    def stride(self) -> int:
        """Distance between the flips of two masks: the pixels, and one place for the end."""
        return self.width * self.height + 1


def trace_contours(
    logits: torch.Tensor, canvas: Canvas, *, mask_threshold: float, chunk_bytes: int
) -> list[tuple[Rle, int]]:
    """
    Encode (n, cells, cells) mask logits; give each mask with its area in pixels.

    A pixel belongs to a mask if the interpolated probability is over *mask_threshold*. Not much
    more than *chunk_bytes* are in use, except that one mask is always taken whole.
    """
    if not len(logits):
        return []
    step = max(1, chunk_bytes // (_BYTES_PER_CELL * logits[0].numel()))
    return [
        encoded
        for chunk in torch.split(logits, step)
        for encoded in _trace_chunk(chunk, canvas, mask_threshold, chunk_bytes)
    ]


def _trace_chunk(
    logits: torch.Tensor, canvas: Canvas, cut: float, room: int
) -> list[tuple[Rle, int]]:
    """Trace masks at once; in halves while the GPU has no room, on the CPU at last."""
    encoded = _attempt(logits, canvas, cut, room)
    if encoded is not None:
        return encoded
    if len(logits) == 1:
        return _trace_chunk(logits.cpu(), canvas, cut, room)
    return [
        encoded
        for half in logits.tensor_split(2)
        for encoded in _trace_chunk(half, canvas, cut, room // 2)
    ]


def _attempt(
    logits: torch.Tensor, canvas: Canvas, cut: float, room: int
) -> list[tuple[Rle, int]] | None:
    """Trace masks at once; None when the GPU has no room, after which all that it took is free."""
    try:
        edges = _Edges(logits.float().sigmoid(), canvas, cut)
        return [
            encoded
            for count, flips in edges.flips(room)
            for encoded in _encoded(flips, count, canvas)
        ]
    except device.MEMORY_ERRORS as error:
        if not device.ran_out(error) or (logits.device.type == "cpu" and len(logits) == 1):
            raise
        return None


def _encoded(flips: NDArray[np.int64], count: int, canvas: Canvas) -> list[tuple[Rle, int]]:
    """Turn the flips of *count* masks, ascending, into run lengths."""
    # Where a column ends inside the mask and the next one begins inside, two flips cancel out.
    first = np.flatnonzero(np.diff(flips, prepend=-1))
    odd = np.diff(first, append=len(flips)) % 2 == 1
    starts = np.arange(count + 1) * canvas.stride
    flips = flips[first[odd]]
    bounds = np.searchsorted(flips, starts)
    return [
        rle.from_flips(flips[begin:end] - start, canvas.width, canvas.height)
        for begin, end, start in zip(bounds, bounds[1:], starts, strict=False)
    ]


class _Edges:
    """
    Computes the flips of one chunk of masks, on the masks' own device.

    A flip is a place where a mask begins or ends, going down the columns of pixels. A gap is the
    square between four neighbouring cells.
    """

    def __init__(self, masks: torch.Tensor, canvas: Canvas, cut: float) -> None:
        """Take probabilities at the model's resolution: (n, rows of cells, columns of cells)."""
        self._canvas, self._cut = canvas, cut
        view = canvas.view
        rows, columns = masks.shape[1:]
        if view.height < rows or view.width < columns:
            # With fewer pixels than cells, some gaps hold no pixel. The pixels' own values then
            # serve as cells.
            rows, columns = min(rows, view.height), min(columns, view.width)
            masks = torch.nn.functional.interpolate(
                masks[None], size=(rows, columns), mode="bilinear", align_corners=False
            )[0]
        self._rows = rows
        self._row_of_pixel = _places(rows, view.height, masks.device).clamp(min=0)
        place = _places(columns, view.width, masks.device)
        gap = place.floor()
        self._share = place - gap
        self._count = torch.bincount(gap.long() + 1, minlength=columns + 1)
        self._first = self._count.cumsum(0) - self._count
        # One cell more on each side: repeated left and right, zero above and below.
        self._cells = masks.new_zeros(len(masks), columns + 2, rows + 2)
        inner = self._cells[:, :, 1:-1]
        inner[:, 1:-1] = masks.transpose(1, 2)
        inner[:, 0], inner[:, -1] = inner[:, 1], inner[:, -2]

    def flips(self, room: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """
        Yield flips of as many masks at once as *room* bytes allow.

        Each item is a number of masks and their flips, ascending: mask x stride + column-major
        index of the pixel.
        """
        gaps = self._mixed()
        each = int(self._count.max())
        most = max(1, room // (_BYTES_PER_PLACE * each))
        for first, last, begin, end in self._groups(gaps, most):
            pieces = self._pieces(gaps[begin:end], most)
            found = [self._places_in(piece, each) for piece in pieces]
            flips = np.concatenate([np.empty(0, np.int64), *found])
            yield last - first, flips - first * self._canvas.stride

    def _groups(self, gaps: torch.Tensor, most: int) -> Iterator[tuple[int, int, int, int]]:
        """Group the masks so that a group has at most *most* gaps, or is one mask."""
        per_mask = len(self._count) * (self._rows + 1)
        starts = torch.arange(1, len(self._cells) + 1, device=gaps.device) * per_mask
        ends = [0, *torch.searchsorted(gaps, starts).tolist()]
        first = 0
        for mask in range(1, len(ends)):
            last = mask == len(ends) - 1
            if last or ends[mask + 1] - ends[first] > most:
                yield first, mask, ends[first], ends[mask]
                first = mask

    def _mixed(self) -> torch.Tensor:
        """Gaps whose four cells are neither all inside nor all outside: (m,) flat indices."""
        inside = self._cells > self._cut
        some = inside[:, 1:] | inside[:, :-1]
        every = inside[:, 1:] & inside[:, :-1]
        mixed = (some[..., 1:] | some[..., :-1]) & ~(every[..., 1:] & every[..., :-1])
        return mixed.flatten().nonzero()[:, 0]

    def _pieces(self, gaps: torch.Tensor, most: int) -> Iterator[torch.Tensor]:
        """Split *gaps* into pieces of about *most*, always between two columns of cells."""
        column = gaps // (self._rows + 1)
        start = 0
        while start < len(gaps):
            stop = min(start + most, len(gaps))
            if stop < len(gaps):
                stop = int(torch.searchsorted(column, column[stop - 1], right=True))
            yield gaps[start:stop]
            start = stop

    def _places_in(self, gaps: torch.Tensor, each: int) -> NDArray[np.int64]:
        """Flips in whole columns of cells, each of which has at most *each* columns of pixels."""
        lines, row = gaps // (self._rows + 1), gaps % (self._rows + 1)
        column = lines % len(self._count)
        mask = lines // len(self._count)
        number = torch.arange(each, device=gaps.device)[:, None]
        x = self._first[column] + number
        real = number < self._count[column]
        share = self._share[x.clamp(max=len(self._share) - 1)]
        corner = (lines + mask) * self._cells.shape[2] + row
        above, below = (self._between(corner + step, share) for step in (0, 1))
        chosen = (((above > self._cut) != (below > self._cut)) & real).flatten().nonzero()[:, 0]
        gap = chosen % len(gaps)
        y = self._first_pixel(row[gap], above.flatten()[chosen], below.flatten()[chosen])
        view = self._canvas.view
        place = (view.left + x.flatten()[chosen]) * self._canvas.height + view.top + y
        return _ascending(mask[gap] * self._canvas.stride + place)

    def _between(self, corner: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Interpolated value at each column of pixels between a cell and its right neighbour."""
        cells = self._cells.flatten()
        left, right = cells[corner], cells[corner + self._cells.shape[2]]
        return left * (1 - share) + right * share

    def _first_pixel(
        self, row: torch.Tensor, above: torch.Tensor, below: torch.Tensor
    ) -> torch.Tensor:
        """First row of pixels on the other side of the cut, by the values at both ends of a gap."""
        pixels = len(self._row_of_pixel)
        after = below > self._cut
        crossing = row - 1 + ((self._cut - above) / (below - above)).double()
        guess = ((crossing + 0.5) * (pixels / self._rows) - 0.5).floor().long() + 1
        first = guess + 1
        for near in (guess, guess - 1):
            down = (self._row_of_pixel[near.clamp(0, pixels - 1)] - (row - 1)).clamp(0, 1)
            value = above * (1 - down) + below * down
            first = torch.where((value > self._cut) == after, near, first)
        first = torch.where(row == 0, 0, first)
        return torch.where(row == self._rows, pixels, first).clamp(0, pixels)


def _places(cells: int, pixels: int, device: torch.device) -> torch.Tensor:
    """Position of each pixel in cells, in float32 as `interpolate` computes it: (pixels,)."""
    numbers = torch.arange(pixels, dtype=torch.float32, device=device)
    return (numbers + 0.5) * float(np.float32(cells) / np.float32(pixels)) - 0.5


def _ascending(flips: torch.Tensor) -> NDArray[np.int64]:
    """Sort and copy to the host; a GPU sorts before the copy."""
    if flips.device.type == "cpu":
        # They are one ascending run for each column of pixels in a gap, which this sort merges.
        return np.sort(flips.numpy(), kind="stable")
    return flips.sort().values.cpu().numpy()
