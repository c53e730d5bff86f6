"""The routes in this process, and the real server: bad input, slow clients, kills."""

import json
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPException, HTTPResponse
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from cprec_lib.files import file_hash
from cprec_lib.serve.events import EventFile
from cprec_lib.serve.manifest import GRAPH, ITEMS, MANIFEST, STEP, TABLES
from cprec_lib.serve.server import allow_many_files, build_app, run
from cprec_lib.serve.service import Service
from tests.serve.conftest import Exported
from tests.serve.exported import N_ITEMS, ORIGINALS, TITLES, export
from tests.serve.running import request, serving

LOCAL = ("127.0.0.1", 1)


@pytest.fixture
def client(exported: Exported) -> TestClient:
    service = Service(exported("cross-block")[0], compare=exported("gru4rec")[0])
    return TestClient(build_app(service), client=LOCAL, raise_server_exceptions=False)


def test_a_history_is_answered_with_items(client: TestClient):
    asked = {"history": [TITLES[3], TITLES[5]], "by": "title", "k": 4}
    answer = client.post("/recommend", json=asked)
    assert answer.status_code == 200
    assert len(answer.json()["items"]) == 4
    second = client.post("/recommend", json={**asked, "model": "second"}).json()
    assert second["model"] == "gru4rec"


def test_a_user_is_followed(client: TestClient):
    for item in ORIGINALS[3:6]:
        assert client.post("/events", json={"user": "ann", "item": item}).status_code == 201
    found = client.get("/users/ann/recommendations", params={"k": 4}).json()["items"]
    asked = {"history": ORIGINALS[3:6], "k": 4}
    assert found == client.post("/recommend", json=asked).json()["items"]


@pytest.mark.parametrize("user", ["a/b", "?", " ", "\x00", "<b>", "ü"])
def test_every_name_that_an_event_may_have_can_be_asked_for(user: str, client: TestClient):
    assert client.post("/events", json={"user": user, "item": ORIGINALS[3]}).status_code == 201
    assert client.get(f"/users/{quote(user, safe='')}/recommendations").status_code == 200


@pytest.mark.parametrize("file", [GRAPH, STEP, TABLES, ITEMS])
@pytest.mark.parametrize("content", [b"", bytes(500), b"junk" * 9, "another"])
def test_files_that_make_no_model_are_refused_and_the_present_one_goes_on(
    file: str, content: bytes | str, client: TestClient, exported: Exported, tmp_path: Path
):
    folder = shutil.copytree(exported("cross-block")[0], tmp_path / "broken")
    other = exported("gru4rec")[0] / (ITEMS if file == TABLES else STEP)
    (folder / file).write_bytes(content if isinstance(content, bytes) else other.read_bytes())
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"][file] = file_hash(folder / file)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    answer = client.post("/reload", json={"folder": str(folder)})
    assert answer.status_code == 422
    assert "broken make no model" in answer.json()["error"]["message"]
    assert client.post("/events", json={"user": "ann", "item": "1003"}).status_code == 201


def test_items_health_and_metrics(client: TestClient):
    found = client.get("/items", params={"query": "number 7"}).json()
    assert found == {"items": [{"item": ORIGINALS[7], "title": TITLES[7]}]}
    health = client.get("/health").json()["models"]
    assert [model["name"] for model in health.values()] == ["cross-block", "gru4rec"]
    numbers = client.get("/metrics").text
    assert 'cprec_requests_total{route="/items",status="200"} 1.0' in numbers
    assert 'cprec_model_bytes{model="second"}' in numbers


@pytest.mark.parametrize(
    ("body", "status", "field", "message"),
    [
        (b"{", 400, "body", "the body is not JSON: "),
        (b"\xff", 400, "body", "not JSON"),
        (b"[" * 100_000, 400, "body", "not JSON"),
        (b"[]", 422, "body", "valid dictionary"),
        (b"", 422, "body", "Field required"),
        (b"x" * 300_000, 413, "body", "over 262,144 bytes; send a shorter history"),
        ({}, 422, "history", "Field required"),
        ({"history": []}, 422, "history", "at least 1 item"),
        ({"history": ["1000"] * 1001}, 422, "history", "at most 1000 items"),
        ({"history": "1000"}, 422, "history", "valid list"),
        ({"history": ["1000", {}]}, 422, "history[1]", "valid string"),
        ({"history": [True]}, 422, "history[0]", "valid string"),
        ({"history": ["1000"], "k": 0}, 422, "k", "greater than or equal to 1"),
        ({"history": ["1000"], "k": 60}, 422, "k", "59 items left to choose from"),
        ({"history": ["1000"], "k": 10**9}, 422, "k", "less than or equal to 1000"),
        ({"history": ["1000"], "k": "ten"}, 422, "k", "valid integer"),
        ({"history": ["1000"], "by": "name"}, 422, "by", "'id' or 'title'"),
        ({"history": ["1000"], "size": 3}, 422, "size", "not permitted"),
        ({"history": ["Item nummer 7"], "by": "title"}, 422, "history[0]", "Item number 7"),
        ({"history": [1000]}, 422, "history[0]", "valid string"),
        ({"history": ["\ud800"]}, 422, "history[0]", ""),
    ],
)  # fmt: skip
def test_bad_input_is_answered_with_the_field_and_the_way_out(
    body: Any, status: int, field: str, message: str, client: TestClient
):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(
        "/recommend", content=content, headers={"content-type": "application/json"}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (status, field)
    assert message in error["message"]
    assert len(answer.content) < 1000


def test_a_body_that_is_not_marked_as_json_is_answered_with_the_header(client: TestClient):
    answer = client.post("/recommend", content=b'{"history": ["1000"]}')
    assert answer.status_code == 422
    assert "send the header Content-Type: application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["x" * 3000, "a\x00b", "~nobody-here/x", " ", "/dev/null/x"])
def test_a_folder_that_cannot_be_named_is_refused_with_a_sentence(name: str, client: TestClient):
    answer = client.post("/reload", json={"folder": name})
    message = answer.json()["error"]["message"]
    assert answer.status_code == 422
    assert "Errno" not in message
    assert len(message) < 400


def test_an_unknown_address_is_answered_with_json(client: TestClient):
    for answer in (client.get("/nothing"), client.delete("/recommend")):
        assert answer.status_code in (404, 405)
        assert "/docs lists what there is" in answer.json()["error"]["message"]


def test_a_fault_of_the_server_shows_no_traceback(client: TestClient, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(Service, "recommend", fail)
    answer = client.post("/recommend", json={"history": ["1000"]})
    assert answer.status_code == 500
    assert answer.json()["error"]["field"] == "server"
    assert "secret" not in answer.text


def test_a_reload_swaps_the_model_and_keeps_the_old_one_on_a_fault(
    client: TestClient, exported: Exported, tmp_path: Path
):
    refused = client.post("/reload", json={"folder": str(tmp_path)})
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "folder")
    assert client.get("/health").json()["models"]["first"]["name"] == "cross-block"
    done = client.post("/reload", json={"folder": str(exported("sasrec")[0])})
    assert done.json()["models"]["first"]["name"] == "sasrec"
    assert client.post("/events", json={"user": "ann", "item": "1000"}).status_code == 409
    assert client.post("/reload", json={}).status_code == 200


@pytest.mark.parametrize(
    ("client_", "headers"), [(("10.1.2.3", 1), {}), (LOCAL, {"X-Forwarded-For": "10.1.2.3"})]
)
def test_only_this_machine_may_reload(client: TestClient, client_, headers):
    other = TestClient(client.app, client=client_)
    answer = other.post("/reload", json={}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["field"]) == (403, "client")


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_the_pages_load_nothing_from_elsewhere(client: TestClient, address: str):
    page = client.get(address).text
    assert page.startswith("<!doctype html>")
    assert re.findall(r"src=|@import|https?:", page) == []


@pytest.fixture(scope="module")
def schema(exported: Exported):
    app = build_app(Service(exported("cross-block")[0]))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


ROUTES = [
    ("/recommend", "POST"),
    ("/events", "POST"),
    ("/users/{user}/recommendations", "GET"),
    ("/items", "GET"),
]
# An id that is in no catalogue is allowed by the schema and refused with 422.
EXCLUDED = [schemathesis.checks.positive_data_acceptance]


@pytest.mark.parametrize(("path", "method"), ROUTES)
@settings(max_examples=15)
@given(data=st.data())
def test_what_the_schema_allows_and_what_it_does_not(path, method, data, schema):
    """No 500, and every answer is as the schema says."""
    mode = data.draw(st.sampled_from(GenerationMode))
    case = data.draw(schema[path][method].as_strategy(generation_mode=mode))
    case.call_and_validate(excluded_checks=EXCLUDED)


# ---- The real server ----


@pytest.fixture(scope="module")
def served(exported: Exported) -> Iterator[int]:
    """The port of a server."""
    with serving(exported("cross-block")[0]) as (_, port):
        yield port


signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def test_idle_and_slow_clients_do_not_stop_the_others(exported: Exported):
    allow_many_files()
    with serving(exported("cross-block")[0]) as (_, port), ExitStack() as open_ones:
        idle = [
            open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(1000)
        ]
        for number in range(5):
            slow = b"POST /recommend HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{"
            idle[0].sendall(slow[number : number + 1])  # a byte at a time
            idle[number + 1].sendall(slow)  # and bodies that do not end
            started = time.perf_counter()
            status, _ = request(port, "POST", "/recommend", {"history": ["1000"]})
            assert (status, time.perf_counter() - started < 2) == (200, True)


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET /health\x00 HTTP/1.1\r\n\r\n"])
def test_what_is_no_request_is_answered_with_json(sent: bytes, served: int):
    with socket.create_connection(("127.0.0.1", served), timeout=10) as client:
        client.sendall(sent)
        answer = HTTPResponse(client)
        answer.begin()
        assert (answer.status, json.load(answer)["error"]["field"]) == (400, "request")


@signals
def test_told_to_end_it_answers_what_has_begun(exported: Exported):
    with serving(exported("cross-block")[0]) as (process, port):
        body = json.dumps({"history": ["1000"]}).encode()
        head = b"POST /recommend HTTP/1.1\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as begun:
            begun.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            begun.sendall(body)
            assert begun.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert process.wait(timeout=10) == -signal.SIGTERM
        assert process.stdout
        assert "Traceback" not in process.stdout.read()


def test_a_port_in_use_and_an_unknown_host_are_named(exported: Exported):
    service = Service(exported("gru4rec")[0])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError) as caught:
            run(service, port=port)
    assert caught.value.strerror == (
        f"cannot listen on 127.0.0.1, port {port}: Address already in use; end what uses the port, "
        "or choose another --port"
    )
    with pytest.raises(OSError) as caught:
        run(service, host="999.1.1.1")
    assert caught.value.strerror.endswith("; choose another --host or --port")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits another process's files")
def test_a_full_disk_is_answered_and_the_rest_goes_on(exported: Exported, tmp_path: Path):
    import resource

    event = {"user": "ann", "item": ORIGINALS[3]}
    with serving(exported("cross-block")[0], "--events", tmp_path / "events") as (process, port):
        assert request(port, "POST", "/events", event)[0] == 201
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (50, 50))
        status, answer = request(port, "POST", "/events", event)
        assert (status, answer["error"]["field"]) == (507, "item")
        assert answer["error"]["message"].endswith("; free some space there")
        assert request(port, "GET", "/users/ann/recommendations")[0] == 200
        assert request(port, "POST", "/recommend", {"history": ORIGINALS[:2]})[0] == 200


@signals
def test_kills_under_load_lose_no_acknowledged_event(tmp_path: Path):
    export("cross-block", tmp_path / "model")
    acknowledged = kill_under_load(tmp_path / "model", tmp_path / "events", kills=3)
    assert {name.split()[0] for name in acknowledged} == {"0", "1", "2"}
    with closing(EventFile(tmp_path / "events")) as file:
        users = [event.user for event, _ in file.read()]
    assert len(users) == len({*users})
    assert {*acknowledged} <= {*users}
    with serving(tmp_path / "model", "--events", tmp_path / "events") as (_, port):
        for user in acknowledged[::10]:
            assert request(port, "GET", f"/users/{quote(user)}/recommendations")[0] == 200


def kill_under_load(folder: Path, events: Path, kills: int) -> list[str]:
    """Kill the server while four clients send events; the users of those that it acknowledged.

    Each event has a user of its own, "kill client number".
    """
    acknowledged = []

    def send_until_killed(kill: int, client: int, port: int) -> None:
        with suppress(OSError, HTTPException):
            for number in count():
                event = {"user": f"{kill} {client} {number}", "item": ORIGINALS[number % N_ITEMS]}
                answer = request(port, "POST", "/events", event)
                assert answer == (201, {"user": event["user"], "events": 1})
                acknowledged.append(event["user"])

    draw = Random(0)
    for kill in range(kills):
        with serving(folder, "--events", events) as (process, port), ThreadPoolExecutor() as pool:
            clients = [pool.submit(send_until_killed, kill, client, port) for client in range(4)]
            time.sleep(draw.uniform(0.2, 1))
            process.kill()
            for client in clients:
                client.result()
    return acknowledged
