"""The parts of the Markdown pages."""

from cprec_lib.evidence.markdown import escaped, table


def test_a_table_has_a_line_for_its_names_and_each_row() -> None:
    assert [*table(("log", "users"), [("a", 3), ("b", 12)])] == [
        "| log | users |",
        "| --- | --- |",
        "| a | 3 |",
        "| b | 12 |",
    ]


def test_a_name_of_anybody_has_no_effect_as_markdown() -> None:
    assert escaped("a|b*c_[d](e)<f>") == r"a\|b\*c\_\[d\](e)\<f\>"
    assert escaped("two\nlines\x1b") == "two?lines?"
