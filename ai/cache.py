"""Where the trained tiny model is kept: outside the checkout, so that clones share it."""

import ast
import hashlib
import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Final

import platformdirs

from ai import batches, forward, initialise, losses, pool, scenes, tiny_config, training, vocabulary
from ai.tiny_config import Recipe


#: Environment variable that moves the cache.
CACHE_DIR: Final = "S3_CACHE_DIR"

#: The source that decides the weights; a change in its code is a new recipe.
SOURCES: Final[tuple[ModuleType, ...]] = (
    batches,
    forward,
    initialise,
    losses,
    pool,
    scenes,
    tiny_config,
    training,
    vocabulary,
)


def root() -> Path:
    """The cache of this project: ``$S3_CACHE_DIR``, or the user's cache folder."""
    return Path(os.environ.get(CACHE_DIR) or platformdirs.user_cache_dir("s3-sam3"))


def recipe_digest(recipe: Recipe, sources: Iterable[ModuleType] = SOURCES) -> str:
    """
    Name a recipe by 16 hex digits of the SHA-256 of its numbers and the code that runs it.

    Comments, docstrings and layout are left out: rewording them costs nobody a training.
    """
    digest = hashlib.sha256(recipe.to_json().encode())
    for source in sources:
        digest.update(code_of(inspect.getsource(source)).encode())
    return digest.hexdigest()[:16]


def tiny_model_dir(recipe: Recipe | None = None) -> Path:
    """Tell where the model of the recipe (by default the current one) is, or will be, kept."""
    return root() / "tiny" / recipe_digest(recipe or Recipe())


def is_complete(folder: Path) -> bool:
    """Say whether the folder holds a finished model: `tiny.json` is written last."""
    return (folder / "tiny.json").is_file()


def code_of(source: str) -> str:
    """Reduce Python source to its meaning: the syntax tree without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)
