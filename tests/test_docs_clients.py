"""What docs/redis-contract.md shows of reading scores runs as it stands: redis-cli, Python and Node."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
from deployment import Play, World
from shops import T0

from streams.crm.reader import CustomerScores
from streams.freshness import Freshness

HERE = Path(__file__).parent
DOCUMENT = (HERE.parent / "docs" / "redis-contract.md").read_text(encoding="utf-8")
EXAMPLES = [textwrap.dedent(each) for each in re.findall(r"(?:^    .*\n|^\n(?=    ))+", DOCUMENT, re.MULTILINE)]
SHELL = [line for each in EXAMPLES for line in each.splitlines() if line.startswith("redis-cli ")]


def example(word: str) -> str:
    (found,) = (each for each in EXAMPLES if word in each)
    return found


def needed(program: str) -> None:
    if shutil.which(program) is None:
        missing = f"{program} is not on PATH, so what the document shows of it was not tried"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)


def test_redis_cli(play: Play, shop: Path) -> None:
    """Each line answers, with what stands there."""
    needed("redis-cli")

    async def scenario(world: World) -> None:
        world.log.buy("c-17", T0)
        await world.catch_up(await world.located())
        await world.store.freshen("w:1", [Freshness(0, 0.0, 0.0, 0, "w:1")])
        answers = {}
        for line in SHELL:
            command = [word.replace("crm:", f"{world.settings.prefix}:") for word in shlex.split(line)[1:]]
            asked = ["redis-cli", "-u", world.settings.redis_url, "-e", *command]
            done = await asyncio.to_thread(subprocess.run, asked, capture_output=True, text=True)
            assert done.returncode == 0, (line, done.stderr)
            answers[line] = done.stdout.splitlines()
        ((_, known),) = ((line, told) for line, told in answers.items() if "HMGET" in line)
        fields = world.customer("c-17")
        assert known == [fields[name] for name in ("segment", "predicted_demand", "customer_value")]
        assert all(answers.values())

    play(scenario, shop)


def ready(code: str, world: World) -> str:
    """The code for this world, whose customer is h1."""
    at = f'CustomerScores("{world.settings.redis_url}", "{world.settings.prefix}"'
    return re.sub(r'CustomerScores\("redis:[^"]*"', at, code).replace("00042", "h1")


def test_python_reads(play: Play, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(world: World) -> None:
        await world.store.freshen("w:1", [Freshness(0, world.redis.time()[0], 0.0, 0, "w:1")])
        await asyncio.to_thread(exec, ready(example('scores.get("00042")'), world), {})
        customer = world.customer("h1")
        told = capsys.readouterr().out.splitlines()
        assert told[0] == f"{customer['segment']} {customer['predicted_demand']} {customer['customer_value']}"
        assert len(told) == 1 + 7

    play(scenario, shop)


def test_python_keeps_a_copy(play: Play, shop: Path) -> None:
    async def scenario(world: World) -> None:
        names: dict[str, Any] = {}
        exec(example("def followed(scores"), names)
        part = await world.located()
        with CustomerScores(world.settings.redis_url, world.settings.prefix) as scores:
            copy, cursor = names["copied"](scores)
            for gap in (False, True):
                world.log.buy(f"new{gap}", T0 + 1)
                world.log.erase(f"h{int(gap)}", T0 + 1)
                world.log.tick(T0 + 40 + gap * 40)
                await world.catch_up(part)
                if gap:
                    world.redis.xtrim(world.store.keys.changes(0), maxlen=0)
                copy, cursor = names["followed"](scores, copy, cursor)
                assert copy == {each.customer_id: each.segment_id for each in scores.everybody()}
                assert {"newFalse", "h5"} <= copy.keys()

    play(scenario, shop)


def test_node_reads(play: Play, shop: Path, tmp_path: Path) -> None:
    needed("npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "node" / name, tmp_path)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, check=True)

    async def scenario(world: World) -> None:
        for name in ("h1", "nobody"):
            code = example("createClient").replace("crm:customer:c-17", world.store.keys.customer(name))
            (tmp_path / "read.js").write_text(code, encoding="utf-8")
            told = os.environ | {"REDIS_URL": world.settings.redis_url}
            done = subprocess.run(["node", "read.js"], cwd=tmp_path, env=told, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            fields = world.customer(name)
            demand = json.dumps(float(fields["predicted_demand"])).removesuffix(".0") if fields else ""
            assert done.stdout.strip() == (f"{fields['segment']} {demand} []" if fields else "not known")

    play(scenario, shop)
