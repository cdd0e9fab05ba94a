"""`njit`: numba's, with the machine code cached beside the source where that directory can be written.

Kernels that call each other stand in one module: numba renews a cached kernel when its own file changes, not another.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def njit(function: F) -> F:
    """Compile `function` at its first call; in a read-only installation it is compiled anew in every process."""
    compiled: Any
    try:
        compiled = numba.njit(cache=True)(function)
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        compiled = numba.njit(function)
    result: F = compiled
    return result
