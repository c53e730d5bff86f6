"""The fingerprint of a table, by which records and runs know their data."""

import hashlib
from pathlib import Path

import pandas as pd

from cprec_lib.logs.fingerprint import fingerprint
from tests.cli.shell import table


def test_fingerprint_takes_text_too() -> None:
    rows = pd.DataFrame({"user": ["a,b"], "item": ["c"], "timestamp": [0.5]})
    assert fingerprint(rows) == hashlib.sha256(b'"a,b","c",0.5\n').hexdigest()


def test_fingerprint_is_that_of_the_rows_in_order(tiny: Path) -> None:
    rows = b"".join(tiny.read_bytes().splitlines(keepends=True)[1:])
    assert fingerprint(table()) == hashlib.sha256(rows).hexdigest()
    assert fingerprint(table()[::-1]) != fingerprint(table())
