"""What partitions ask of the model in one turn of the event loop is one call, and the same to the bit."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deployment
import numpy as np
import pytest
from deployment import Play
from shops import T0

from models.model import Model, Predictions
from models.rows import RAW
from streams.serving import Serving

Calls = list[int]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """How many customers each call of a model was asked about."""
    found: Calls = []
    plain: Callable[..., Predictions] = Model.predict_many

    def counted(self: Model, raw: Any) -> Predictions:
        found.append(len(raw))
        return plain(self, raw)

    monkeypatch.setattr(Model, "predict_many", counted)
    return found


def test_what_is_asked_for_at_once_is_one_call(play: Play, shop: Path, calls: Calls) -> None:
    """Also beside somebody who went away meanwhile. Mutations caught: an answer for each; answers of others."""

    async def scenario(world: deployment.World) -> None:
        part = await world.located()
        raw = part.table.observe(np.arange(len(part.table)), part.swept_to)
        parts, serving = [raw[:1], raw[1:4], raw[4:4], raw[4:]], part.serving
        alone = [serving.model.predict_many(each) for each in parts]
        calls.clear()
        asked = [asyncio.ensure_future(serving.said(each)) for each in (*parts, raw)]
        await asyncio.sleep(0)
        asked.pop().cancel()
        for (version, said), expected in zip(await asyncio.gather(*asked), alone, strict=True):
            assert version == serving.version
            for column, other in zip(said, expected, strict=True):
                np.testing.assert_array_equal(column, other)
        assert calls == [len(raw)]
        await asyncio.sleep(0)
        assert (len((await serving.said(raw[:2]))[1].demand), calls) == (2, [len(raw), 2])

    play(scenario, shop)


def test_an_error_of_the_model_reaches_everybody_who_asked() -> None:
    """Else their partitions would wait for ever. Mutation caught: the error left to the event loop."""

    async def scenario() -> None:
        nowhere: Any = None
        serving = Serving(nowhere)  # has no model
        asked = [asyncio.ensure_future(serving.said(np.zeros(1, RAW))) for _ in range(2)]
        for each in asked:
            with pytest.raises(AttributeError):
                await asyncio.wait_for(each, 5)

    asyncio.run(scenario())


def test_chunks_of_one_round_are_scored_at_once(play: Play, shop: Path, calls: Calls) -> None:
    """Two partitions and one call. Mutation caught: `Ahead.asked` left out."""

    async def scenario(world: deployment.World) -> None:
        for name in ("h0", "h1", "h2", "h3", "h4", "h5"):
            world.log.buy(name, T0)
        parts = [await world.located(number) for number in range(2)]
        other = parts[1]
        other.serving = parts[0].serving  # as in a worker
        for part in parts:
            await world.catch_up(part, 1)
            part.heard = math.inf  # so that no round trip comes between
        calls.clear()
        await asyncio.gather(*(world.catch_up(part) for part in parts))
        assert calls == [4]

    play(scenario, shop, partitions=2)
