"""An append-only file: what was acknowledged is there after a kill, a full disk, a restart."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cprec_lib.serve.events import Event, EventFile

ROOT = Path(__file__).resolve().parents[2]
SOME = [Event("ann", "50"), Event("bob\n", "é"), Event("ann", "7")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def write(path: Path, events: list[Event]) -> None:
    file = EventFile(path)
    for event in events:
        file.append(event)
    file.close()


def read(path: Path) -> list[Event]:
    with closing(EventFile(path)) as file:
        return [event for event, _ in file.read()]


def test_events_are_read_back_in_their_order(path: Path):
    write(path, SOME[:2])
    write(path, SOME[2:])
    assert read(path) == SOME


def test_reading_goes_on_where_it_stopped(path: Path):
    file = EventFile(path)
    ends = [file.append(event) for event in SOME]
    assert [end for _, end in file.read()] == ends
    assert [event for event, _ in file.read(ends[0])] == SOME[1:]
    assert [*file.read(ends[-1])] == []
    file.close()


@pytest.mark.parametrize(
    "torn", [b"{", b'{"user": "ann", "item": "5"}', b'{"user": "' + b"x" * 100_000]
)
def test_a_last_line_that_a_kill_cut_short_is_dropped(path: Path, torn: bytes):
    write(path, SOME)
    with path.open("ab") as file:
        file.write(torn)
    assert read(path) == SOME
    write(path, SOME[:1])
    assert read(path) == [*SOME, SOME[0]]


def test_a_file_with_only_a_torn_line_becomes_empty(path: Path):
    path.write_bytes(b'{"user": "a')
    assert read(path) == []


@pytest.mark.parametrize(
    "content", [b"\x00" * 99, b"item,title\n1,Heat", b"item,title\n1,Heat\n", b'{"user":"a"']
)
def test_another_kind_of_file_is_refused_and_stays_whole(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a file of events; name another file"):
        EventFile(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_file_in_a_folder_that_is_missing_is_refused_and_makes_none(tmp_path: Path):
    with pytest.raises(OSError, match=r"events\.jsonl: No such file or directory; name another"):
        EventFile(tmp_path / "no" / "such" / "events.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names on Windows")
def test_a_pipe_is_refused_and_gets_no_lock(path: Path):
    os.mkfifo(path)
    with pytest.raises(OSError, match=r"events\.jsonl: not a regular file; name another file"):
        EventFile(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(OSError, match="name another file") as caught:
        EventFile(tmp_path)
    assert str(tmp_path) in caught.value.strerror


@pytest.mark.parametrize("line", ["{}", "[]", "no json", '{"user": 1, "item": "2"}', "[" * 10**5])
def test_a_line_that_is_no_event_is_named(path: Path, line: str):
    write(path, SOME[:1])
    size = path.stat().st_size
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=f"no event at byte {size} .*; move the file away"):
        read(path)


def test_a_second_process_is_refused(path: Path):
    file = EventFile(path)
    code = "import sys; from pathlib import Path; from cprec_lib.serve.events import EventFile\n"
    code += "try: EventFile(Path(sys.argv[1]))\nexcept ValueError as error: print(error)"
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    file.close()
    assert (done.stdout, done.stderr) == (
        f"{path} is in use by another process; end that, or name another file\n",
        "",
    )


FULL = """
import resource, signal, sys
from pathlib import Path
from cprec_lib.serve.events import Event, EventFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
file = EventFile(Path(sys.argv[1]))
for number in range(10):
    try:
        file.append(Event("ann", str(number)))
    except OSError as error:
        print(error.strerror)
        break
print([event.item for event, _ in file.read()] == [str(each) for each in range(number)])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_an_event_that_does_not_fit_is_refused_whole(path: Path):
    command = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    message, intact = done.stdout.splitlines()
    assert message.startswith(f"cannot write an event into {path}: ")
    assert message.endswith("; free some space there")
    assert (intact, done.stderr) == ("True", "")


WRITER = """
import sys
from contextlib import closing
from pathlib import Path
from cprec_lib.serve.events import Event, EventFile
file = EventFile(Path(sys.argv[1]))
number = sum(1 for _ in file.read())
while True:
    file.append(Event("ann", str(number)))
    print(number, flush=True)
    number += 1
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_ten_kills_lose_no_acknowledged_event(path: Path):
    acknowledged = -1
    for _ in range(10):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            for _ in range(200):
                acknowledged = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split("\n")[:-1])])
    found = [int(event.item) for event in read(path)]
    assert found == [*range(len(found))]
    assert len(found) > acknowledged
