"""A notebook's file, read as data."""

import json

import pytest

from cprec_lib.course.notebooks import Cell, read_cells


def test_sources_are_joined_and_outputs_kept() -> None:
    output = {"output_type": "stream", "text": "3"}
    cells = [
        {"cell_type": "markdown", "source": "# A title"},
        {"cell_type": "code", "source": ["1 +\n", "2"], "outputs": [output, "no output"]},
    ]
    assert read_cells(json.dumps({"cells": cells}).encode()) == [
        Cell("markdown", "# A title"),
        Cell("code", "1 +\n2", (output,)),
    ]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"cells": [3]}', b"[" * 10**5]
)
def test_what_is_no_notebook_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a notebook of format 4"):
        read_cells(content)
