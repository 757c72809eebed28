"""What this worker can do, as it says at each claim."""

from dataclasses import dataclass
from typing import Any, Final

from s3_sam3.contracts import limits
from s3_sam3.contracts.manifest import ModelInfo
from s3_sam3.contracts.tasks import MediaKind


_DTYPES: Final = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""torch's names -> the names in a task's `needs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the settings say; the rest comes of the model that the pipeline has now."""

    slots: int
    """Pictures in hand at once."""
    memory_mb: int | None = None
    """GPU memory to declare, MiB; None: what the pipeline says."""

    def with_model(self, model: ModelInfo | None) -> dict[str, Any]:
        """The `p_capabilities` of `claim_tasks`."""
        memory_mb = self.memory_mb
        if memory_mb is None:
            memory_mb = model.memory_mb if model else 0
        return {
            "kinds": [MediaKind.IMAGE.value],
            "memory_mb": memory_mb,
            "max_pixels": limits.MAX_IMAGE_PIXELS,
            "slots": self.slots,
            "model_revision": model.revision if model else None,
            "dtype": _DTYPES.get(model.dtype, model.dtype) if model else None,
        }
