"""`cprec export` and `cprec serve`; tests/serve/test_server.py starts the server."""

import subprocess
import sys
from pathlib import Path

from cprec_lib import serve
from cprec_lib.serve.manifest import GRAPH
from tests.cli.shell import ROOT, fail, succeed


def test_export_writes_a_model_and_says_how_large_it_is(trained: Path, tmp_path: Path):
    printed = succeed("export", "--model", trained, "--out", tmp_path / "out")
    served = serve.load(tmp_path / "out")
    files = (tmp_path / "out").glob("*.*")
    size = sum(f.stat().st_size for f in files if f.name not in ("manifest.json", "run.lock"))
    assert printed == (
        f"cprec, {served.n_items} items, {size:,} bytes. Written to {tmp_path / 'out'}\n"
    )


def test_export_refuses_a_folder_without_a_run(tmp_path: Path):
    out = tmp_path / "out"
    assert "holds no finished run" in fail("export", "--model", tmp_path, "--out", out)
    (tmp_path / GRAPH).touch()
    message = fail("export", "--model", tmp_path, "--out", out)
    assert f"{tmp_path} holds an exported model; name the run, the folder that" in message
    file = tmp_path / GRAPH
    message = fail("export", "--model", file, "--out", out)
    assert f"{file} is a file, not a folder; name the run, the folder that" in message


def test_serving_needs_no_torch_on_the_command_line():
    code = """
import sys
sys.modules["torch"] = sys.modules["pandas"] = None
from cprec_lib.cli.app import app
app(["--help"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "export" in done.stdout


def test_serve_refuses_what_is_no_exported_model(tmp_path: Path):
    assert "make one with `cprec export --model RUN" in fail("serve", tmp_path)
    assert "no-such-folder holds no exported model" in fail("serve", "no-such-folder")
    (tmp_path / "log.csv").touch()
    message = fail("serve", tmp_path / "log.csv")
    assert "log.csv is a file; name a folder that `cprec export` wrote" in message
    assert "65535" in fail("serve", tmp_path, "--port", 70_000, status=2)
