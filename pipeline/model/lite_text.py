"""
SAM3 with a small text encoder (`Sam3LiteTextModel`) behind the `Detector` seam.

Vision encoder and heads are SAM3's; text is read by a MobileCLIP of 61 million parameters instead
of 354. Its convolutions run over the padding too, so that a text must always be padded to the
same length, as `TextFeatures` does; then its features do not depend on what it is read with.
"""

from typing import Any

from typing_extensions import override

from pipeline.model.detector import Sam3Detector


class LiteTextDetector(Sam3Detector):
    """Any checkpoint of `Sam3LiteTextModel`."""

    @staticmethod
    @override
    def vision_output_class() -> Any:
        """Of this model's own module: transformers keeps a copy of each class per model."""
        from transformers.models.sam3_lite_text.modeling_sam3_lite_text import (
            Sam3LiteTextVisionEncoderOutput,
        )

        return Sam3LiteTextVisionEncoderOutput
