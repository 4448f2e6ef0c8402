"""emosae: find, test and map the sparse-autoencoder features that stand for emotions in a language model.

Functional features are no evidence of feelings, and the model is not the character it writes.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emosae.api import ClampedModel, FinishedRun, clamp, open_run, rank

__version__ = "0.1.0"

__all__ = ["ClampedModel", "FinishedRun", "__version__", "clamp", "open_run", "rank"]


def __getattr__(name: str) -> object:
    """What a notebook calls, imported when it is first asked for, so that `import emosae` takes no time."""
    if name not in __all__:
        raise AttributeError(f"module 'emosae' has no attribute {name!r}")
    return getattr(import_module("emosae.api"), name)
