"""Limits on what a client may send and how long it may take, before a route sees the request."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BODY_BYTES = 2**18
"""A body may be 256 KiB: a thousand titles."""
HEADER_SECONDS, BODY_SECONDS = 10.0, 10.0
OPEN_REQUESTS = 1000
"""Requests whose bodies are awaited at once."""


def problem(field: str, message: str) -> dict[str, Any]:
    """The body of every answer that is not what was asked for."""
    return {"error": {"field": field, "message": message}}


class Limits:
    """An ASGI application that reads the whole body first, within the limits, and counts requests.

    So no route waits for a client, and a slow one costs only its connection.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app, self._open = app, 0
        labels = ("route", "status")
        self._requests = Counter("cprec_requests", "Requests answered", labels, registry=registry)
        self._seconds = Histogram(
            "cprec_request_seconds",
            "Time from the end of a request to the end of its answer",
            ("route",),
            registry=registry,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._open += 1
        try:
            body, refused = await self._body(scope, receive)
        finally:
            self._open -= 1
        if refused is not None:
            await self._refuse(scope, send, *refused)
        elif body is not None:  # else the client has gone
            await self._answer(scope, body, receive, send)

    async def _body(
        self, scope: Scope, receive: Receive
    ) -> tuple[bytes | None, tuple[int, str] | None]:
        """The body, or the status and the message with which it is refused."""
        if self._open > OPEN_REQUESTS:
            return None, (503, "the server is busy; try again in a second")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await _read(receive)
        except TimeoutError:
            return None, (408, f"the body took over {BODY_SECONDS:.0f} seconds; send it at once")

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        started, status, given = time.perf_counter(), 500, False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, replay, note)
        finally:
            # The route, not the address: whoever asks for a million addresses fills no memory.
            route = getattr(scope.get("route"), "path", "other")
            self._requests.labels(route, status).inc()
            self._seconds.labels(route).observe(time.perf_counter() - started)

    async def _refuse(self, scope: Scope, send: Send, status: int, message: str) -> None:
        self._requests.labels("other", status).inc()
        content = json.dumps(problem("body", message)).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            (b"connection", b"close"),
            (b"retry-after", b"1"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _read(receive: Receive) -> tuple[bytes | None, tuple[int, str] | None]:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None, None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES:
            return None, (413, f"the body is over {BODY_BYTES:,} bytes; send a shorter history")
        if not message.get("more_body"):
            return b"".join(parts), None


class Deadline(HttpToolsProtocol):
    """uvicorn's protocol, with a time limit on the headers of each request, and errors as JSON.

    uvicorn itself waits for ever for a client that connects and sends nothing, or a byte a second.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._start()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        content = json.dumps(problem("request", f"{msg} Send a request of HTTP/1.1.")).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(content), content)
        )
        self.transport.close()

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
