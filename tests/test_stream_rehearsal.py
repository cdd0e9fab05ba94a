"""Before a worker joins its group all kernels are loaded: the first events of a live stream wait for none."""

import os
import subprocess
import sys
from pathlib import Path

import deployment
from deployment import Play, disturb
from numba.core.dispatcher import Dispatcher

from streams.rehearsal import rehearse

HERE = Path(__file__).parent


def loaded() -> dict[str, list[str]]:
    """By kernel of the modules that are imported: the types that it is loaded for."""
    ours = [module for name, module in [*sys.modules.items()] if name.startswith(("models.", "streams."))]
    kernels = {each for module in ours for each in vars(module).values() if isinstance(each, Dispatcher)}
    return {f"{each.py_func.__module__}.{each.py_func.__name__}": [*map(str, each.signatures)] for each in kernels}


def main(url: str, prefix: str) -> None:
    """Prints what a worker's first days need beyond what it has rehearsed."""

    async def days(world: deployment.World) -> None:
        world.deployment = await world.store.deployment()
        disturb(world.log)
        rehearse()
        rehearsed = loaded()
        part = await world.located()
        for end in range(1, 40):
            await world.catch_up(part, end)
        await world.catch_up(part)
        found = loaded()
        print(*(f"{name}: {types}" for name, types in sorted(found.items()) if types != rehearsed.get(name)), sep="\n")

    deployment.run(days, deployment.World(url, prefix), None)


def test_a_worker_that_has_rehearsed_loads_no_kernel_for_its_first_events(play: Play, shop: Path) -> None:
    """In a process of its own. Mutations caught: compose, sweeps or states left out of the rehearsal."""

    async def scenario(world: deployment.World) -> None:
        url, prefix = world.settings.redis_url, world.settings.prefix
        ask = f"import test_stream_rehearsal as here; here.main({url!r}, {prefix!r})"
        paths = os.pathsep.join(map(str, (HERE, HERE.parent)))
        run = [sys.executable, "-c", ask]
        done = subprocess.run(run, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
        assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr

    play(scenario, shop)
