"""
Vision features of pictures seen before, in two tiers that are bounded in bytes.

The first tier is on the GPU, the second in the host's memory, pinned so that the way back is fast.
Least recently used entries move from the first to the second, and are then forgotten. On a CPU
there is only the second tier. Entries are shared and never written to.

torch rounds each piece of pinned memory up to a power of two, so an entry is stored there as one
piece, and counted as what that takes: 67 MB for SAM3's 56 MB in bfloat16, where three pieces would
take 88.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Final, TypeAlias

import torch
from cachetools import LRUCache
from typing_extensions import override

from pipeline.model import device


#: Maps of one view, (1, width, cells, cells) each, finest first.
Features: TypeAlias = tuple[torch.Tensor, ...]

#: Maps in one piece begin at multiples of so many bytes.
_ALIGNMENT: Final = 256


class FeatureMemory:
    """
    Features by the digest of scope and pixels.

    The model's thread alone calls it; any thread may read its `figures`.
    """

    def __init__(self, device: torch.device, *, gpu_bytes: int, host_bytes: int) -> None:
        """Keep at most *gpu_bytes* on *device* and *host_bytes* on the host; 0 keeps none."""
        self._device = device
        host_size = _size if device.type == "cpu" else _pinned_size
        self._host = _Tier(host_bytes, host_size, evicted=lambda _key, _features: None)
        self._gpu = _Tier(gpu_bytes, _size, evicted=self._to_host)
        self._lookups: Counter[str] = Counter()

    def __contains__(self, key: bytes) -> bool:
        """Whether an entry is there; this does not count as use."""
        return key in self._gpu or key in self._host

    def __len__(self) -> int:
        """Entries in both tiers."""
        return len(self._gpu) + len(self._host)

    def get(self, key: bytes) -> Features | None:
        """Give the entry, on the device and as the one used last; or None."""
        for name, tier in (("gpu", self._gpu), ("host", self._host)):
            features = self._on_device(tier.pop(key, None))
            if features is not None:
                self._lookups[name] += 1
                self.put(key, features)
                return features
        self._lookups["none"] += 1
        return None

    def _on_device(self, features: Features | None) -> Features | None:
        """Bring an entry to the device; where there is no room it is lost and computed again."""
        try:
            return features and tuple(one.to(self._device, non_blocking=True) for one in features)
        except device.MEMORY_ERRORS as error:
            if device.ran_out(error):
                return None
            raise

    def put(self, key: bytes, features: Features) -> None:
        """Remember *features*, which must not be written to from now on."""
        self._gpu.put(key, features)

    def _to_host(self, key: bytes, features: Features) -> None:
        """Keep in the second tier what left the first."""
        if self._host.takes(features):
            copied = features if self._device.type == "cpu" else _pinned_copy(features)
            self._host.put(key, copied)

    def make_room(self) -> None:
        """Forget what is on the device; on a GPU, what is on the host takes no room there."""
        self._gpu.clear()
        if self._device.type == "cpu":
            self._host.clear()

    @property
    def figures(self) -> Mapping[str, float]:
        """Hits, misses and bytes for `/metrics`."""
        figures: dict[str, float] = {"vision_memory_misses_total": self._lookups["none"]}
        for name, tier in (("gpu", self._gpu), ("host", self._host)):
            label = f'{{tier="{name}"}}'
            figures[f"vision_memory_hits_total{label}"] = self._lookups[name]
            figures[f"vision_memory_bytes{label}"] = tier.currsize
        return figures


class _Tier(LRUCache[bytes, Features]):
    """Entries within a bound of bytes; what is pushed out goes to *evicted*."""

    def __init__(
        self,
        most_bytes: int,
        size: Callable[[Features], int],
        *,
        evicted: Callable[[bytes, Features], None],
    ) -> None:
        super().__init__(most_bytes, getsizeof=size)
        self._evicted = evicted

    def takes(self, features: Features) -> bool:
        """Whether an entry of this size fits at all."""
        return self.getsizeof(features) <= self.maxsize

    def put(self, key: bytes, features: Features) -> None:
        """Keep an entry, or pass it on when it is too large."""
        if self.takes(features):
            self[key] = features
        else:
            self._evicted(key, features)

    @override
    def popitem(self) -> tuple[bytes, Features]:
        """Remove the least recently used entry; the cache calls this to make room."""
        key, features = super().popitem()
        self._evicted(key, features)
        return key, features

    @override
    def clear(self) -> None:
        """Forget everything, without passing it on."""
        for key in list(self):
            del self[key]


def _size(features: Features) -> int:
    return sum(one.nbytes for one in features)


def _pinned_size(features: Features) -> int:
    """Bytes that one piece of pinned memory for an entry takes."""
    return 1 << (max(1, sum(map(_aligned_bytes, features))) - 1).bit_length()


def _aligned_bytes(one: torch.Tensor) -> int:
    """Bytes of a map, up to where the next one may begin."""
    return -(-one.nbytes // _ALIGNMENT) * _ALIGNMENT


def _pinned_copy(features: Features) -> Features:
    """Copy an entry off the GPU into one piece of pinned memory, keeping each map's strides."""
    try:
        piece = pinned(sum(map(_aligned_bytes, features)))
    except RuntimeError:  # the host pins only so much
        return tuple(one.to("cpu") for one in features)
    begins = accumulate(map(_aligned_bytes, features), initial=0)
    return tuple(_copy_to(piece[begin:], one) for one, begin in zip(features, begins, strict=False))


def _copy_to(piece: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
    """Copy a map to the beginning of *piece*."""
    strides = torch.empty_like(one, device="meta").stride()
    place = piece[: one.nbytes].view(one.dtype).as_strided(one.shape, strides)
    # This copy and all copies back are on the model's own stream, so they cannot overtake.
    return place.copy_(one, non_blocking=True)


def pinned(size: int) -> torch.Tensor:
    """
    Give *size* bytes of the host's memory that the GPU can access directly.

    Raises:
        RuntimeError: there are none.

    """
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)
