"""The server: routes over a `Service`, and how it starts and ends."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from cprec_lib import __version__
from cprec_lib.serve.documentation import documentation
from cprec_lib.serve.limits import Deadline, Limits, problem
from cprec_lib.serve.service import Refusal, Service

HISTORY, K = 1000, 1000
"""The longest history and the largest k of a request."""
CONNECTIONS = 4000
LAST_SECONDS = 10
"""How long the server, told to end, waits for what has begun."""

User = Annotated[str, Field(min_length=1, max_length=200, description="A name of your choice.")]
Item = Annotated[str, Field(max_length=300, description="An original id; a title if by is title.")]
By = Annotated[Literal["id", "title"], Field(description="What items are named by.")]
Count = Annotated[int, Field(ge=1, le=K, description="How many items to recommend.")]
Seen = Annotated[bool, Field(description="Leave out the items of the history.")]
Which = Annotated[Literal["first", "second"], Field(description="second: that of --compare.")]


class Body(BaseModel):
    """A body of a request: without fields that nothing reads."""

    model_config = ConfigDict(extra="forbid", strict=True)


class History(Body):
    """What someone chose, oldest first, and what to recommend."""

    history: Annotated[list[Item], Field(min_length=1, max_length=HISTORY)]
    by: By = "id"
    k: Count = 10
    exclude_seen: Seen = True
    model: Which = "first"


class NewEvent(Body):
    """A user has chosen an item."""

    user: User
    item: Item
    by: By = "id"


class Folder(Body):
    """An exported model on the server's machine; without it, the present folder is read again."""

    folder: Annotated[str, Field(min_length=1, max_length=4000)] | None = None


class Named(BaseModel):
    """An item: its original id and its title."""

    item: str
    title: str


class Ranked(Named):
    """A recommended item."""

    log_probability: float


class Ranking(BaseModel):
    """Recommended items, best first, from which model, its size and the time it took."""

    items: list[Ranked]
    model: str
    bytes: int
    milliseconds: float


class Items(BaseModel):
    """Items found."""

    items: list[Named]


class Observed(BaseModel):
    """A user, and how many of the user's events are known."""

    user: str
    events: int


class Health(BaseModel):
    """The models that are served."""

    models: dict[str, dict[str, str | int]]


class Fault(BaseModel):
    """The field at fault, and what to do about it."""

    field: str
    message: str


class Problem(BaseModel):
    """Why a request was refused."""

    error: Fault


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    texts = {
        400: "The body is not JSON.",
        403: "Only the server's own machine may ask for this.",
        404: "Unknown user.",
        409: "Not possible with this model, or not now.",
        422: "A field is wrong; the message says how.",
        507: "The event could not be written.",
    }
    return {status: {"model": Problem, "description": texts[status]} for status in statuses}


def build_app(service: Service) -> FastAPI:
    """The application for a service. Its routes compute at once, except those that say so."""
    app = FastAPI(
        title="cprec serve",
        version=__version__,
        description="Recommends the next items after a history, exactly, from a whole catalogue.",
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            Refusal: _refused,
            RequestValidationError: _invalid,
            HTTPException: _no_route,
            Exception: _failed,
        },
    )
    registry = CollectorRegistry()
    app.add_middleware(Limits, registry=registry)
    _add_recommendations(app, service)
    _add_users(app, service)
    _add_operation(app, service, registry)
    _add_pages(app)
    return app


def _add_recommendations(app: FastAPI, service: Service) -> None:
    @app.post("/recommend", response_model=Ranking, responses=_refusals(400, 422))
    async def recommend(asked: History) -> Response:
        """The most probable next items after a history."""
        return JSONResponse(service.recommend(**dict(asked)))

    @app.get("/items", response_model=Items, responses=_refusals(422))
    async def items(
        query: Annotated[str, Query(max_length=200)],
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
        model: Which = "first",
    ) -> Response:
        """Items whose titles contain a text, the most popular first; ASCII in either case."""
        return JSONResponse(await service.items(query, limit, model))


def _add_users(app: FastAPI, service: Service) -> None:
    @app.post(
        "/events", status_code=201, response_model=Observed, responses=_refusals(400, 409, 422, 507)
    )
    async def events(event: NewEvent) -> Response:
        """A user has chosen an item. Once this is answered, a kill of the server cannot lose it."""
        return JSONResponse(service.observe(**dict(event)), 201)

    @app.get(
        "/users/{user:path}/recommendations",  # a name may hold a slash
        response_model=Ranking,
        responses=_refusals(404, 409, 422),
    )
    async def recommend_to(
        user: Annotated[str, Path(min_length=1, max_length=200)],
        k: Annotated[int, Query(ge=1, le=K)] = 10,
        exclude_seen: bool = True,
    ) -> Response:
        """The most probable next items of a user whose events were sent."""
        return JSONResponse(service.recommend_to(user, k, exclude_seen))


def _add_operation(app: FastAPI, service: Service, registry: CollectorRegistry) -> None:
    reloading = asyncio.Lock()
    gauge = Gauge("cprec_model_bytes", "Bytes of tables and graph", ["model"], registry=registry)
    states = Gauge("cprec_states", "Users whose state is in memory", registry=registry)

    @app.get("/health", response_model=Health)
    async def health() -> Response:
        """Which models are served."""
        models = {
            key: {"name": model.manifest.name, "items": model.n_items, "bytes": model.bytes}
            for key, model in service.models.items()
        }
        return JSONResponse({"models": models})

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Numbers for Prometheus: requests by route and status, their times, bytes, users."""
        for key, model in service.models.items():
            gauge.labels(key).set(model.bytes)
        states.set(len(service.stream) if service.stream is not None else 0)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/reload", response_model=Health, responses=_refusals(400, 403, 409, 422))
    async def reload(request: Request, asked: Folder) -> Response:
        """Load a model beside the present one and put it in its place."""
        if not _is_local(request):
            raise Refusal(403, "client", "ask from the machine on which the server runs")
        if reloading.locked():
            raise Refusal(409, "folder", "another model is being loaded; try again later")
        async with reloading:
            folder = FilePath(asked.folder) if asked.folder else service.model.folder
            try:
                service.swap(*await asyncio.to_thread(service.prepare, folder))
            except (ValueError, OSError) as error:
                message = getattr(error, "strerror", None) or str(error)
                raise Refusal(422, "folder", message) from error
        return await health()


def _add_pages(app: FastAPI) -> None:
    page = (files("cprec_lib.serve") / "page.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def start() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(documentation(app.openapi()))


def _is_local(request: Request) -> bool:
    """Whether the client is on this machine, and no proxy that speaks for another one."""
    if request.client is None or {"forwarded", "x-forwarded-for"} & {*request.headers}:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse(problem(error.field, error.message), error.status)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse(problem("body", f"the body is not JSON: {first['ctx']['error']}"), 400)
    _, *place = first["loc"]
    if not place and isinstance(first["input"], bytes) and first["input"]:
        way_out = "send the header Content-Type: application/json"
        return JSONResponse(problem("body", f"the body is not marked as JSON; {way_out}"), 422)
    names = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    field = "".join(names).removeprefix(".") or "body"
    return JSONResponse(problem(field, first["msg"]), 422)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # bytes that are not text, or brackets in brackets without end
        return JSONResponse(problem("body", "the body is not JSON: it cannot be read"), 400)
    message = f"{error.detail}; /docs lists what there is"
    return JSONResponse(problem("path", message), error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    message = "the server failed on this request; its log has the reason"
    return JSONResponse(problem("server", message), 500)


def run(service: Service, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what has begun.

    Raises OSError, naming the way out, if the port cannot be had.
    """
    with _listening(host, port) as listener:
        config = uvicorn.Config(
            build_app(service),
            http=Deadline,
            ws="none",
            proxy_headers=False,  # whoever asks to reload is known by the connection alone
            server_header=False,
            access_log=False,
            log_level="warning",
            limit_concurrency=CONNECTIONS,
            backlog=2048,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
        allow_many_files()
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            service.close()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        way_out = "choose another --host or --port"
        if error.errno == errno.EADDRINUSE:
            way_out = "end what uses the port, or choose another --port"
        reason = str(error.strerror).split(" (while")[0]  # the address follows
        raise OSError(
            error.errno, f"cannot listen on {host}, port {port}: {reason}; {way_out}"
        ) from error
    with listener:
        yield listener


def allow_many_files() -> None:
    """Raise this process's limit on open files, so that idle connections do not reach it."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
