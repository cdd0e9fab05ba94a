"""The parts of a long history on an existing Dask cluster, by the same functions that run here part after part.

Rule: what becomes of a part is a function of its file alone, so where that ran never shows. Workers need this program
in the same version, and the directory of the parts under the same path.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from offline.errors import OfflineError

if TYPE_CHECKING:
    from offline.history.spill import Each

WAIT = 10  # seconds for the scheduler to answer


@contextlib.contextmanager
def each(address: str | None) -> Iterator["Each"]:
    """`map`, or what calls a function for every part on the workers of this scheduler. Raises OfflineError."""
    if address is None:
        yield map
        return
    try:
        import distributed
    except ImportError:
        raise OfflineError("--dask: Dask is not installed; pip install '.[dask]'") from None
    try:
        client = distributed.Client(address, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OfflineError(f"--dask {address}: {error}; say for example tcp://host:8786") from None

    def run(function: Callable[[Any], Any], parts: Iterable[Any]) -> Iterable[Any]:
        try:
            results: list[Any] = client.gather(client.map(function, list(parts), pure=False))
        except (OSError, ImportError, distributed.KilledWorker) as error:
            raise OfflineError(
                f"--dask {address}: a worker failed ({error}); all need this program and the directory of --out"
            ) from None
        return results

    with client:
        yield run
