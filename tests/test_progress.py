"""Where nobody can watch a bar, progress is a line."""

from cprec_lib import progress


def test_a_line_instead_of_a_bar(capsys) -> None:
    with progress.bar("0/2 epochs", 10, 0, " positions", True) as bar:
        progress.show(bar, "1/2 epochs", "loss 3.000")
    assert capsys.readouterr().out == "1/2 epochs: loss 3.000\n"


def test_without_progress_nothing_is_printed(capsys) -> None:
    with progress.bar("0/2 epochs", 10, 0, " positions", False) as bar:
        progress.show(bar, "1/2 epochs", "loss 3.000")
    assert capsys.readouterr().out == "" and not progress.watched()
