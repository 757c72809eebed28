"""
What the model saw of pictures, remembered in two tiers that are bounded in bytes.

The first lies on the GPU, the second in the host's memory, pinned so that the way back is fast.
What is unused for longest moves from the first to the second, and from there is forgotten. A CPU
has the second tier alone. Entries are shared by whoever asks and never written to.

torch rounds each piece of pinned memory up to a power of two, so an entry lies there in one piece,
and counts as what that takes: SAM3's in bfloat16 67 MB for 56, where its maps alone would take 88.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Final, TypeAlias

import torch

from pipeline.model import full_memory


#: Maps of one view, (1, width, cells, cells) each, finest first.
Features: TypeAlias = tuple[torch.Tensor, ...]

#: Maps in one piece begin at multiples of so many bytes.
_APART: Final = 256


class FeatureMemory:
    """
    Features by the digest of scope and pixels, the ones used last.

    The model's thread alone calls it; any thread may read its `figures`.
    """

    def __init__(self, device: torch.device, *, gpu_bytes: int, host_bytes: int) -> None:
        """Keep at most *gpu_bytes* on *device*, and *host_bytes* beside it; 0 keeps none."""
        self._device = device
        self._gpu = _Tier("gpu", gpu_bytes, _size)
        self._host = _Tier("host", host_bytes, _size if device.type == "cpu" else _pinned_size)
        self._asked: Counter[str] = Counter()

    def __contains__(self, key: bytes) -> bool:
        """Whether an entry is there; asking does not count as use."""
        return key in self._gpu or key in self._host

    def __len__(self) -> int:
        """Entries in both tiers."""
        return len(self._gpu) + len(self._host)

    def get(self, key: bytes) -> Features | None:
        """Give the entry, on the device and from now on the one used last; or None."""
        for tier in (self._gpu, self._host):
            features = self._on_device(tier.pop(key))
            if features is not None:
                self._asked[tier.name] += 1
                self.put(key, features)
                return features
        self._asked["none"] += 1
        return None

    def _on_device(self, features: Features | None) -> Features | None:
        """Bring an entry to the device; without room there, it is lost, and seen anew."""
        try:
            return features and tuple(one.to(self._device, non_blocking=True) for one in features)
        except full_memory.ERRORS as error:
            if full_memory.ran_out(error):
                return None
            raise

    def put(self, key: bytes, features: Features) -> None:
        """Remember *features*, which nobody may write to from now on."""
        for old, demoted in self._gpu.put(key, features):
            if self._host.takes(demoted):
                off = demoted if self._device.type == "cpu" else _to_host(demoted)
                self._host.put(old, off)

    def clear(self) -> None:
        """Forget everything."""
        self._gpu.clear()
        self._host.clear()

    def make_room(self) -> None:
        """Forget what lies on the device; what lies beside a GPU takes nothing of it."""
        self._gpu.clear()
        if self._device.type == "cpu":
            self._host.clear()

    @property
    def figures(self) -> Mapping[str, float]:
        """Hits, misses and bytes for `/metrics`."""
        figures: dict[str, float] = {"vision_memory_misses_total": self._asked["none"]}
        for tier in (self._gpu, self._host):
            label = f'{{tier="{tier.name}"}}'
            figures[f"vision_memory_hits_total{label}"] = self._asked[tier.name]
            figures[f"vision_memory_bytes{label}"] = tier.bytes
        return figures


class _Tier:
    """Entries within a bound of bytes, the one unused for longest first."""

    def __init__(self, name: str, most_bytes: int, size: Callable[[Features], int]) -> None:
        """Be empty; *size* says what an entry takes here."""
        self.name = name
        self.bytes = 0
        self._size = size
        self._most = most_bytes
        self._entries: OrderedDict[bytes, Features] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def takes(self, features: Features) -> bool:
        """Whether so large an entry can be kept at all."""
        return self._size(features) <= self._most

    def put(self, key: bytes, features: Features) -> list[tuple[bytes, Features]]:
        """Take an entry in; give back those that had to leave for it, or itself."""
        self.pop(key)
        if not self.takes(features):
            return [(key, features)]
        self._entries[key] = features
        self.bytes += self._size(features)
        left = []
        while self.bytes > self._most:
            oldest, entry = next(iter(self._entries.items()))
            self.pop(oldest)
            left.append((oldest, entry))
        return left

    def pop(self, key: bytes) -> Features | None:
        """Give an entry away, or None."""
        features = self._entries.pop(key, None)
        if features is not None:
            self.bytes -= self._size(features)
        return features

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0


def _size(features: Features) -> int:
    """Bytes of an entry."""
    return sum(one.nbytes for one in features)


def _pinned_size(features: Features) -> int:
    """Bytes that one piece of pinned memory for an entry takes."""
    return 1 << (max(1, sum(map(_room, features))) - 1).bit_length()


def _room(one: torch.Tensor) -> int:
    """Bytes of a map, and up to the place where the next one may begin."""
    return -(-one.nbytes // _APART) * _APART


def _to_host(features: Features) -> Features:
    """Copy an entry off the GPU into one piece of pinned memory, each map laid out as it is."""
    try:
        piece = pinned(sum(map(_room, features)))
    except RuntimeError:  # the host pins only so much
        return tuple(one.to("cpu") for one in features)
    begins = accumulate(map(_room, features), initial=0)
    return tuple(_put(one, piece[begin:]) for one, begin in zip(features, begins, strict=False))


def _put(one: torch.Tensor, piece: torch.Tensor) -> torch.Tensor:
    """Copy a map to the beginning of *piece*."""
    strides = torch.empty_like(one, device="meta").stride()
    place = piece[: one.nbytes].view(one.dtype).as_strided(one.shape, strides)
    # On the model's own stream, as are all copies back: each is done before what comes after it.
    return place.copy_(one, non_blocking=True)


def pinned(size: int) -> torch.Tensor:
    """
    Give *size* bytes of the host's memory that the GPU reaches by itself.

    Raises:
        RuntimeError: there are none.

    """
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)
