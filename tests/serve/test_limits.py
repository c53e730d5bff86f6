"""Limits, with an ASGI application that only repeats what it reads."""

import asyncio
import json

import pytest
from prometheus_client import CollectorRegistry

from cprec_lib.serve import limits
from cprec_lib.serve.limits import BODY_BYTES, Limits


async def echo(scope, receive, send) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(*parts: bytes, wait: float = 0, app=echo, registry=None) -> tuple[int, bytes]:
    """Send a body in parts, `wait` seconds apart; the status and the body of the answer."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    answers: list[dict] = []

    async def receive():
        await asyncio.sleep(wait)
        return messages.pop(0)

    async def send(message):
        answers.append(message)

    limited = Limits(app, registry or CollectorRegistry())
    asyncio.run(limited({"type": "http"}, receive, send))
    return answers[0]["status"], answers[1]["body"]


def refusal(answer: tuple[int, bytes]) -> tuple[int, str, str]:
    error = json.loads(answer[1])["error"]
    return answer[0], error["field"], error["message"]


def test_a_body_arrives_whole():
    assert ask(b"one ", b"two") == (200, b"one two")
    assert ask(b"x" * BODY_BYTES)[0] == 200


def test_a_body_that_is_too_long_is_refused():
    status, field, message = refusal(ask(b"x" * BODY_BYTES, b"x"))
    assert (status, field) == (413, "body")
    assert message == "the body is over 262,144 bytes; send a shorter history"


def test_a_body_that_is_too_slow_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)
    status, field, _ = refusal(ask(*[b"x"] * 100, wait=0.01))
    assert (status, field) == (408, "body")


def test_too_many_open_requests_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "OPEN_REQUESTS", 0)
    assert refusal(ask(b"x")) == (503, "body", "the server is busy; try again in a second")


def test_requests_are_counted_by_their_route():
    async def app(scope, receive, send):
        scope["route"] = type("Route", (), {"path": "/users/{user}"})
        await echo(scope, receive, send)

    registry = CollectorRegistry()
    ask(b"", app=app, registry=registry)
    labels = {"route": "/users/{user}", "status": "200"}
    assert registry.get_sample_value("cprec_requests_total", labels) == 1
    labels.pop("status")
    assert registry.get_sample_value("cprec_request_seconds_count", labels) == 1
