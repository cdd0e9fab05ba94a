"""The model that serves, the versions that are kept, and how true the promises were: what `streams model` and `streams
models` say."""

import msgspec
from fastapi import Request
from starlette.responses import Response

from models.truth import WINDOWS, Truth
from streams import truth, versions
from streams.crm import routing
from streams.crm.access import LISTS
from streams.crm.kept import Kept
from streams.crm.looks import served_by
from streams.crm.routing import Route, route
from streams.crm.schemas import Serving, Versions
from streams.crm.service import Service
from streams.versions import Known

_text = msgspec.json.encode


class Models:
    """The routes that tell of the model; what they answer is kept for a while."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._truth, self._versions = Kept(self._found), Kept(self._listed)

    def routes(self) -> list[Route]:
        return [
            route("GET", "/v1/model", self.model, {200: routing.answer("Serving", "The model")}, LISTS),
            route("GET", "/v1/models", self.versions, {200: routing.answer("Versions", "The versions")}, LISTS),
            route("GET", "/v1/truth", self.truth, {200: routing.answer("Truth", "What came of what was said")}, LISTS),
        ]

    async def model(self, request: Request) -> Response:
        """The model that serves."""
        told = await self._truth.get()
        what = Serving(told.serving, told.learned_through, told.horizon_days, told.examples, served_by(told), told.fit)
        return Response(_text(what), media_type=routing.JSON)

    async def versions(self, request: Request) -> Response:
        """The versions that are kept.

        The day each has learned through, its examples, the figures of its fit, which serves, and which `keep` keeps.
        """
        return Response(_text(Versions(await self._versions.get())), media_type=routing.JSON)

    async def truth(self, request: Request) -> Response:
        """How true the promises were lately.

        Of 30 and of 90 days: what was served when an example opened beside what the customer then spent. It is the
        document of `streams model --json`, which `offline report --truth` takes.
        """
        return Response((await self._truth.get()).document(), media_type=routing.JSON)

    async def _found(self) -> Truth:
        return await truth.found(self.service.store, self.service.looks.now.deployment, WINDOWS)

    async def _listed(self) -> list[Known]:
        _ = self.service.looks.now
        return await versions.listed(self.service.store)
