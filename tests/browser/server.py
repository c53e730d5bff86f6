"""A JupyterLab server for the tests: its own settings, a random token, this machine only."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

SECONDS_TO_START = 120  # the first start on a slow disk reads a lot

# A learner's settings, as the Settings menu would write them.
SETTINGS = {
    # Every cell is part of the page, also those far from the visible ones.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Only a cell that this test changes is ever saved, and it says when.
    "docmanager-extension/plugin": {"autosave": False},
}


@dataclass(frozen=True)
class Server:
    """A running JupyterLab and the folder that it shows."""

    url: str
    token: str
    folder: Path

    def ask(self, path: str, method: str = "GET") -> object:
        """What the server's REST interface answers; None if it answers nothing."""
        headers = {"Authorization": f"token {self.token}"}
        with urlopen(Request(f"{self.url}{path}", headers=headers, method=method)) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def stop_kernels(self) -> None:
        """End every kernel, so that the next notebook has the memory to itself."""
        for kernel in self.ask("/api/kernels"):
            self.ask(f"/api/kernels/{kernel['id']}", method="DELETE")


@contextmanager
def serving(folder: Path, home: Path) -> Iterator[Server]:
    """JupyterLab over `folder`, with its settings and its log in `home`.

    Raises RuntimeError, with the end of the log, if it does not answer in time.
    """
    server = Server(f"http://127.0.0.1:{_free_port()}", secrets.token_hex(16), folder)
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    log = home / "jupyterlab.log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            _command(server), cwd=folder, env=_environment(home), stdout=lines, stderr=lines
        )
    try:
        _wait_for(server, process, log)
        yield server
        server.stop_kernels()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(server: Server) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--ip=127.0.0.1",
        f"--port={server.url.rpartition(':')[2]}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={server.token}",
        f"--ServerApp.root_dir={server.folder}",
    ]


def _environment(home: Path) -> dict[str, str]:
    """Nothing of the user's own settings, and nothing written there."""
    own = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    return {**os.environ, **{name: str(home / folder) for name, folder in own.items()}}


def _wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end and process.poll() is None:
        try:
            server.ask("/api/status")
            return
        except URLError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
