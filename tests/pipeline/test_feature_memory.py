"""The memory of vision features: bounded in bytes, in two tiers, the least used leaves first."""

import weakref

import numpy as np
import pytest
import torch

from pipeline.model import feature_memory as module
from pipeline.model.feature_memory import FeatureMemory, Features


ENTRY = 48  # bytes: two maps of six floats


def memory(gpu: int, host: int) -> FeatureMemory:
    """Tiers for so many entries; both in this machine's memory."""
    return FeatureMemory(
        torch.device("cpu"), gpu_bytes=gpu * ENTRY + 1, host_bytes=host * ENTRY + 1
    )


def features(number: int) -> Features:
    """An entry that can be told from others."""
    return torch.full((1, 2, 3, 1), float(number)), torch.full((1, 6, 1, 1), float(number))


def where(kept: FeatureMemory, *keys: bytes) -> list[str | None]:
    """The tier of each key."""
    tiers = {"gpu": kept._gpu, "host": kept._host}
    return [next((name for name, tier in tiers.items() if key in tier), None) for key in keys]


def test_what_is_unused_for_longest_moves_down_and_is_forgotten() -> None:
    """Two on the GPU, two beside it: the first of five is gone, the next two are beside it."""
    kept = memory(2, 2)
    for number in range(5):
        kept.put(b"%d" % number, features(number))
    assert where(kept, b"0", b"1", b"2", b"3", b"4") == [None, "host", "host", "gpu", "gpu"]


def test_what_is_used_stays() -> None:
    """
    A used entry outlives a newer one that was not used.

    Negative control: without the use it is the first to go.
    """
    for use, survivor in ((True, b"0"), (False, b"1")):
        kept = memory(0, 2)
        kept.put(b"0", features(0))
        kept.put(b"1", features(1))
        if use:
            kept.get(b"0")
        kept.put(b"2", features(2))
        assert [key for key in (b"0", b"1") if key in kept] == [survivor]


def test_what_is_asked_for_comes_back_up() -> None:
    """An entry that had left the GPU is there again after its use, and another one left for it."""
    kept = memory(1, 2)
    kept.put(b"0", features(0))
    kept.put(b"1", features(1))
    assert where(kept, b"0", b"1") == ["host", "gpu"]
    found = kept.get(b"0")
    assert found is not None
    assert all(torch.equal(one, other) for one, other in zip(found, features(0), strict=True))
    assert where(kept, b"0", b"1") == ["gpu", "host"]


@pytest.mark.parametrize(("gpu", "host"), [(0, 0), (0, 3), (2, 0), (1, 1), (3, 5)])
def test_bytes_never_pass_their_bounds(gpu: int, host: int) -> None:
    """Whatever is put and asked for, each tier holds no more than it may, and counts it right."""
    kept = memory(gpu, host)
    for step in range(60):
        kept.put(b"%d" % (step * 7 % 11), features(step))
        kept.get(b"%d" % (step * 5 % 11))
        for tier, most in ((kept._gpu, gpu), (kept._host, host)):
            assert tier.currsize == len(tier) * ENTRY <= most * ENTRY


def test_an_entry_that_cannot_fit_pushes_nobody_out() -> None:
    """One too large for the GPU goes beside it at once; one too large for both is not kept."""
    kept = memory(2, 4)
    kept.put(b"0", features(0))
    large = tuple(one.repeat(3, 1, 1, 1) for one in features(1))
    kept.put(b"large", large)
    kept.put(b"huge", tuple(one.repeat(9, 1, 1, 1) for one in features(2)))
    assert where(kept, b"0", b"large", b"huge") == ["gpu", "host", None]


def test_the_figures_tell_hits_misses_and_bytes() -> None:
    """Each question counts once, where it was answered."""
    kept = memory(1, 1)
    kept.put(b"0", features(0))
    kept.put(b"1", features(1))
    for key in (b"1", b"0", b"none", b"none"):
        kept.get(key)
    assert kept.figures == {
        'vision_memory_hits_total{tier="gpu"}': 1,
        'vision_memory_hits_total{tier="host"}': 1,
        "vision_memory_misses_total": 2,
        'vision_memory_bytes{tier="gpu"}': ENTRY,
        'vision_memory_bytes{tier="host"}': ENTRY,
    }


def test_what_is_forgotten_is_gone() -> None:
    """On a CPU `make_room` leaves nothing, and no byte is counted."""
    kept = memory(1, 1)
    kept.put(b"0", features(0))
    kept.put(b"1", features(1))
    kept.make_room()
    assert len(kept) == 0
    assert (kept._gpu.currsize, kept._host.currsize) == (0, 0)


class Pinned:
    """Pinned memory as torch gives it: each piece rounded up to a power of two."""

    def __init__(self) -> None:
        """Have given none."""
        self.bytes = 0
        self.pieces = 0

    def __call__(self, size: int) -> torch.Tensor:
        """Give a piece, and count it as long as somebody holds a part of it."""
        taken = 1 << (size - 1).bit_length()
        piece = np.empty(size, np.uint8)
        self.bytes += taken
        self.pieces += 1
        weakref.finalize(piece, self._freed, taken)
        return torch.from_numpy(piece)

    def _freed(self, taken: int) -> None:
        """Count it no more."""
        self.bytes -= taken


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Pinned:
    """Memory that is not really pinned, for maps that are not really on a GPU."""
    given = Pinned()
    monkeypatch.setattr(module, "pinned", given)
    return given


def maps(number: int) -> Features:
    """SAM3's maps in bfloat16, an eighth as wide and high: 871 kB, of which torch makes 1 MiB."""
    cells = (36, 18, 9)
    return tuple(torch.full((1, 256, one, one), number, dtype=torch.bfloat16) for one in cells)


@pytest.mark.parametrize("honest", [True, False])
def test_pinned_memory_takes_no_more_than_its_setting(
    pinned: Pinned, monkeypatch: pytest.MonkeyPatch, *, honest: bool
) -> None:
    """
    Whatever torch rounds up to is counted: twenty entries leave five in 5 MiB.

    Negative control: where the maps' own bytes count, more is taken.
    """
    if not honest:
        monkeypatch.setattr(module, "_pinned_size", module._size)
    kept = FeatureMemory(torch.device("cuda"), gpu_bytes=0, host_bytes=5 * 2**20)
    for number in range(20):
        kept.put(b"%d" % number, maps(number))
    assert pinned.pieces == 20
    assert (pinned.bytes <= 5 * 2**20) is honest
    assert kept._host.currsize <= 5 * 2**20
    assert len(kept) == (5 if honest else 6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_comes_off_the_gpu_is_what_lay_there(
    pinned: Pinned, layout: torch.memory_format
) -> None:
    """Values, kinds and layout of all maps, though they lie in one piece."""
    one = torch.arange(90, dtype=torch.bfloat16).reshape(1, 5, 6, 3).to(memory_format=layout)
    other = torch.arange(7, dtype=torch.float32).reshape(1, 7, 1, 1)
    copied = module._pinned_copy((one, other))
    assert pinned.pieces == 1
    for was, now in zip((one, other), copied, strict=True):
        assert torch.equal(was, now)
        assert (was.dtype, was.stride()) == (now.dtype, now.stride())


def test_memory_that_runs_out_takes_from_the_device_alone(pinned: Pinned) -> None:
    """
    Entries on the host stay: forgetting them would free nothing on the GPU.

    Negative control: on a CPU, where it is the same memory, it is forgotten.
    """
    for device, left in (("cuda", 2), ("cpu", 0)):
        kept = FeatureMemory(torch.device(device), gpu_bytes=2**20, host_bytes=2**23)
        for number in range(3):
            kept.put(b"%d" % number, maps(number))
        assert len(kept) == 3
        kept.make_room()
        assert (len(kept._gpu), len(kept._host)) == (0, left)
    assert pinned.pieces == 2
