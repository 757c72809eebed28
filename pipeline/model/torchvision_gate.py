"""
Keeps a broken torchvision from breaking transformers.

A torchvision built for another torch dies while it is imported ("operator torchvision::nms does
not exist"), and transformers imports it whenever it is installed, so every model goes down with
it. SAM3's image path needs nothing of torchvision that `preprocess` and `regions` do not have.
"""

import importlib
import sys


def hide_if_broken() -> bool:
    """
    Make an installed but broken torchvision look absent; answer whether it was hidden.

    Call it before the first import of transformers. Does nothing when torchvision works or is
    not installed.
    """
    if not _is_broken():
        return False
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    # None makes both `import` and `importlib.util.find_spec` say that it is not installed.
    sys.modules["torchvision"] = None  # type: ignore[assignment] # documented meaning: blocked
    return True


def _is_broken() -> bool:
    """Whether torchvision is installed and cannot be imported."""
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        return error.name != "torchvision"
    except Exception:  # noqa: BLE001 - whatever it dies of, it is of no use
        return True
    return False
