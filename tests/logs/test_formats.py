"""Every parser of the registry on small files of its format."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cprec_lib.logs import formats
from cprec_lib.logs.datasets import (
    load_interactions,
    load_titles,
)
from tests.logs.registry import (
    COLUMNS,
    MEMBERS,
    RECBOLE,
    SORTED,
    SORTED_1M,
    TITLES,
    archive_of,
    place,
    recbole_files,
    rows,
    zipped,
)


def test_ratings_of_one_second_are_in_no_order_of_ids(tmp_path: Path) -> None:
    table = pd.DataFrame({"user": 1, "item": range(200), "rating": 5, "timestamp": 7})
    forward, backward = tmp_path / "forward.inter", tmp_path / "backward.inter"
    table.to_csv(forward, sep="\t", index=False)
    table[::-1].to_csv(backward, sep="\t", index=False)
    items = formats.read_recbole(forward)["item"]
    assert items.tolist() == formats.read_recbole(backward)["item"].tolist()
    assert sorted(items) == list(range(200))
    assert abs(np.corrcoef(items, np.arange(200))[0, 1]) < 0.2


@pytest.mark.parametrize("name", MEMBERS)
def test_movielens_archives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    place(monkeypatch, tmp_path, name, 0, [archive_of(name)])
    table = load_interactions(name, tmp_path)
    assert list(table.columns) == COLUMNS
    assert [str(kind) for kind in table.dtypes] == ["int32", "int32", "int64"]
    assert rows(table) == (SORTED_1M if name == "ml-1m" else SORTED)
    assert table.index.equals(pd.RangeIndex(len(table)))
    titles = load_titles(name, tmp_path)
    assert (titles.index.name, titles.name) == ("item", "title")
    assert titles.to_dict() == TITLES


def test_both_sources_of_ml_100k_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    (tmp_path / "zip").mkdir()
    (tmp_path / "wheel").mkdir()
    place(monkeypatch, tmp_path / "zip", "ml-100k", 0, [archive_of("ml-100k")])
    shuffled = [text.encode() for text in RECBOLE.values()]
    header, *lines = shuffled[0].decode().splitlines()
    shuffled[0] = "\n".join([header, *reversed(lines)]).encode()
    place(monkeypatch, tmp_path / "wheel", "ml-100k", 1, shuffled)
    both = [tmp_path / "zip", tmp_path / "wheel"]
    pd.testing.assert_frame_equal(*(load_interactions("ml-100k", folder) for folder in both))
    pd.testing.assert_series_equal(*(load_titles("ml-100k", folder) for folder in both))


def test_recbole_titles_of_movies_with_unusual_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = RECBOLE["ml-100k.item"] + "267\tunkonwn\tunkonwn\tunknown\n"
    items += "1412\tLand Before Time III (1995)\tV\tAnimation\n"
    place(monkeypatch, tmp_path, "ml-100k", 1, [recbole_files()[0], items.encode()])
    titles = load_titles("ml-100k", tmp_path)
    assert titles[267] == "unknown"
    assert titles[1412] == "Land Before Time III (1995) (V)"


RETAIL = [  # InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID
    (536365, "85123A", "WHITE LANTERN ", 6, 40513.25, 2.5, 17850),
    (536365, 71053, "METAL LANTERN", 6, 40513.25, 2.5, 17850),
    ("C536379", 71053, "Discount", -1, 40514, 2.5, 17850),
    ("C536380", 71053, "Cancelled", 1, 40514, 2.5, 17850),
    (536381, 71053, "Returned", -3, 40514, 2.5, 17850),
    (536382, 71053, "Nobody", 3, 40514, 2.5, None),
    (536383, 71053, "METAL BOX", 3, 40512.5, 2.5, 12346),
    (536384, 71053, "METAL BOX", 3, 40512.75, 2.5, 12346),
]


def workbook(table: list[tuple[object, ...]]) -> bytes:
    """The fewest parts that make a workbook; the fifth column is in a date format."""
    names = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice")
    lines = []
    for row in [(*names, "CustomerID"), *table]:
        cells = [
            f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'
            if isinstance(value, str)
            else f"<c{' s=' + chr(34) + '1' + chr(34) if column == 4 else ''}><v>{value}</v></c>"
            if value is not None
            else "<c/>"
            for column, value in enumerate(row)
        ]
        lines.append(f"<row>{''.join(cells)}</row>")
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    part = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{part}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{part}.styles+xml"/>'
        f'<Override PartName="/xl/sheet1.xml" ContentType="{part}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Online Retail" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/worksheet" Target="sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>',
        "xl/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData>'
        "</worksheet>",
    }
    return zipped({name: text.encode() for name, text in parts.items()})


@pytest.fixture
def retail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    (tmp_path / "online-retail.zip").write_bytes(zipped({"Online Retail.xlsx": workbook(RETAIL)}))
    monkeypatch.setattr(formats, "RETAIL_COUNTS", (4, 2, 2))
    return tmp_path


def test_online_retail(retail: Path) -> None:
    pytest.importorskip("python_calamine")
    table = load_interactions("online-retail", retail)
    day = 1291075200  # 2010-11-30, day 40512 of the workbook
    assert rows(table) == [
        (12346, "71053", day + 43200),
        (12346, "71053", day + 64800),
        (17850, "85123A", day + 86400 + 21600),
        (17850, "71053", day + 86400 + 21600),
    ]
    assert load_titles("online-retail", retail).to_dict() == {
        "71053": "METAL BOX",
        "85123A": "WHITE LANTERN",
    }


def test_online_retail_with_other_counts_is_refused(
    retail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("python_calamine")
    monkeypatch.setattr(formats, "RETAIL_COUNTS", (5, 2, 2))
    with pytest.raises(ValueError, match=r"has \(4, 2, 2\) rows, users and items instead of \(5,"):
        load_interactions("online-retail", retail)


@pytest.mark.parametrize("there", [True, False])
def test_online_retail_names_the_package_that_reads_it_before_the_download(
    there: bool, retail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    if not there:
        (retail / "online-retail.zip").unlink()
    for load in (load_interactions, load_titles):
        with pytest.raises(OSError, match="not installed; run `pip install python-calamine`"):
            load("online-retail", retail)


@pytest.mark.parametrize("damage", ["half", "no sheet", "no workbook"])
def test_a_damaged_online_retail_is_a_sentence(damage: str, retail: Path) -> None:
    pytest.importorskip("python_calamine")
    path = retail / "online-retail.zip"
    content = path.read_bytes()
    middle = len(content) // 3
    path.write_bytes(
        {
            "half": content[:middle] + bytes(200) + content[middle + 200 :],
            "no sheet": zipped({"another.txt": b""}),
            "no workbook": zipped({"Online Retail.xlsx": b"no workbook"}),
        }[damage]
    )
    for load in (load_interactions, load_titles):
        with pytest.raises(ValueError, match=r"online-retail\.zip is damaged or another edition"):
            load("online-retail", retail)
