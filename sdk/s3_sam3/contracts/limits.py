"""Bounds that all sides must agree on, with their units."""

from typing import Final


MAX_PROMPTS_PER_TASK: Final = 16
"""Prompts in one task. SAM3 reads the picture once for all of them."""

MAX_TEXT_TOKENS: Final = 32
"""CLIP tokens of one text prompt, start and end tokens included (SAM3's text encoder)."""

MAX_TEXT_CHARACTERS: Final = 400
"""Characters of one text prompt; a cheap bound in front of the tokenizer."""

MAX_BOXES_PER_PROMPT: Final = 32
"""Exemplar boxes of one prompt."""

MAX_INSTANCES: Final = 200
"""Instances of one prompt: the number of object queries of SAM3's decoder."""

MAX_INSTANCES_TILED: Final = 1000
"""Instances of one prompt when the picture is also read in tiles, each with all its queries."""

DEFAULT_SCORE_THRESHOLD: Final = 0.5
"""Instances scoring lower are dropped."""

DEFAULT_MASK_THRESHOLD: Final = 0.5
"""Mask probability from which a pixel belongs to the instance."""

DEFAULT_FLOOR: Final = 0.25
"""Candidates scoring lower are not kept for a later re-threshold."""

MAX_TILES: Final = 4
"""Tiles along each side of a picture that is read in tiles; they and the whole are passes."""

MAX_UPLOAD_BYTES: Final = 50 * 1024 * 1024
"""Bytes of one uploaded picture."""

MAX_IMAGE_PIXELS: Final = 50_000_000
"""Width x height of a picture, checked in its header before anything is decoded."""

MAX_IMAGE_SIDE: Final = 65_535
"""Pixels along one side: the most a JPEG can have. A line of 50 million is a bomb, no picture."""

IMAGE_TYPES: Final = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
"""Pillow's format name in lower case -> media type. Nothing else is decoded."""

CREDITS_PER_PROMPT: Final = 1
"""Credits held for each prompt and each pass of the model over the picture."""

SIGNED_URL_SECONDS: Final = 900
"""Life of a download URL."""

IDEMPOTENCY_KEY_CHARACTERS: Final = 255
"""Longest accepted `Idempotency-Key`."""

MAX_DEADLINE_SECONDS: Final = 604_800
"""Longest `deadline_seconds` of a task: one week."""

MAX_MODEL_REVISION_CHARACTERS: Final = 200
"""Characters of the model revision that a task asks for."""

MAX_NEEDED_MEMORY_MB: Final = 1_048_576
"""MiB of GPU memory that a task may ask for."""

MAX_QUEUE_POSITION: Final = 1_000
"""Tasks in front are counted up to here."""

MAX_WAIT_SECONDS: Final = 60
"""Longest `?wait=` of `POST /api/v1/segment`."""

MAX_PAGE_SIZE: Final = 100
"""Rows in one page of a list."""

MAX_WEBHOOKS: Final = 10
"""Webhooks of one user."""

MAX_WEBHOOK_URL_CHARACTERS: Final = 2048
"""Characters of a webhook's address."""

MAX_WEBHOOK_DESCRIPTION_CHARACTERS: Final = 500
"""Characters of a webhook's description."""
