"""Networks and package indexes that answer, break or are not there."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logs.registry import RECBOLE, Handler, Server, expect, recbole_files, zipped


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to reach a network, and to start pip, fail loudly."""

    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def fake_pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip whose download brings a wheel with the small RecBole files; lists the commands."""
    commands: list[list[str]] = []
    folder = "recbole/dataset_example/ml-100k"
    wheel = zipped({f"{folder}/{name}": text.encode() for name, text in RECBOLE.items()})

    def run(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (target,) = (Path(o.removeprefix("--dest=")) for o in command if o.startswith("--dest="))
        (target / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    expect(monkeypatch, "ml-100k", 1, recbole_files())
    return commands


@pytest.fixture
def broken_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no recbole here")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.fixture
def dead_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address resolves to nothing."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
