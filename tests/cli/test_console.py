"""What reaches the terminal, and which errors become a sentence."""

import pytest

from cprec_lib.cli.console import harmless, line, sentence, speaks


def test_text_cannot_steer_the_terminal() -> None:
    assert harmless("a\x1b[2Jb\rc\td\x9be\u202ef\ud800") == r"a\x1b[2Jb\rc\td\x9be\u202ef\ud800"
    assert harmless("two\nlines") == "two\nlines"
    assert line("two\nlines") == r"two\nlines"
    assert harmless("本棚 🎲 né\u00a0e") == "本棚 🎲 né\u00a0e"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(13, "Permission denied", "log.csv"), "log.csv: Permission denied"),
        (OSError(13, "Permission denied"), "Permission denied"),
        (ModuleNotFoundError("No module named 'torch'"), "`cprec doctor` checks"),
        (
            UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates"),
            "'\\udcff' is not text in UTF-8",
        ),
        (OverflowError("too big to convert"), "a number is too large"),
        (MemoryError(), "the memory does not suffice"),
        (RuntimeError("Could not determine home directory."), "give a path without ~"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "choose smaller numbers"),
    ],
)
def test_errors_of_users_become_a_sentence(error: Exception, text: str) -> None:
    assert text in (sentence(error) or "")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("a"), TypeError("b")])
def test_faults_of_the_library_do_not(error: Exception) -> None:
    assert sentence(error) is None


def test_only_the_main_one_of_several_processes_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = {}
    for count in ("1", "2"):
        for rank in ("0", "1"):
            monkeypatch.setenv("WORLD_SIZE", count)
            monkeypatch.setenv("RANK", rank)
            spoken[count, rank] = speaks()
    assert spoken == {("1", "0"): True, ("1", "1"): True, ("2", "0"): True, ("2", "1"): False}
