"""
What the model saw of pictures, remembered in two tiers that are bounded in bytes.

The first lies on the GPU, the second in the host's memory, pinned so that the way back is fast.
What is unused for longest moves from the first to the second, and from there is forgotten. A CPU
has the second tier alone. Entries are shared by whoever asks and never written to.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import TypeAlias

import torch

from pipeline import full_memory


#: Maps of one view, (1, width, cells, cells) each, finest first.
Features: TypeAlias = tuple[torch.Tensor, ...]


class FeatureMemory:
    """
    Features by the digest of scope and pixels, the ones used last.

    The model's thread alone calls it; any thread may read its `figures`.
    """

    def __init__(self, device: torch.device, *, gpu_bytes: int, host_bytes: int) -> None:
        """Keep at most *gpu_bytes* on *device*, and *host_bytes* beside it; 0 keeps none."""
        self._device = device
        self._gpu = _Tier("gpu", gpu_bytes)
        self._host = _Tier("host", host_bytes)
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
                self._host.put(old, tuple(_to_host(one) for one in demoted))

    def clear(self) -> None:
        """Forget everything."""
        self._gpu.clear()
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

    def __init__(self, name: str, most_bytes: int) -> None:
        """Be empty."""
        self.name = name
        self.bytes = 0
        self._most = most_bytes
        self._entries: OrderedDict[bytes, Features] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def takes(self, features: Features) -> bool:
        """Whether so large an entry can be kept at all."""
        return _size(features) <= self._most

    def put(self, key: bytes, features: Features) -> list[tuple[bytes, Features]]:
        """Take an entry in; give back those that had to leave for it, or itself."""
        self.pop(key)
        if not self.takes(features):
            return [(key, features)]
        self._entries[key] = features
        self.bytes += _size(features)
        left = []
        while self.bytes > self._most:
            oldest, entry = next(iter(self._entries.items()))
            self.pop(oldest)
            left.append((oldest, entry))
        return left

    def pop(self, key: bytes) -> Features | None:
        """Give an entry away, or None."""
        features = self._entries.pop(key, None)
        self.bytes -= _size(features or ())
        return features

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0


def _size(features: Features) -> int:
    """Bytes of an entry."""
    return sum(one.nbytes for one in features)


def _to_host(one: torch.Tensor) -> torch.Tensor:
    """Copy a map off the GPU into pinned memory; one that is off already stays as it is."""
    if one.device.type == "cpu":
        return one
    try:
        pinned = torch.empty_like(one, device="cpu", pin_memory=True)
    except RuntimeError:  # the host pins only so much
        return one.to("cpu")
    # On the model's own stream, as are all copies back: each is done before what comes after it.
    return pinned.copy_(one, non_blocking=True)
