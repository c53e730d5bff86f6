"""Formulas as MathML, which browsers show without a script."""

import re

from latex2mathml.converter import convert

# HTML needs no namespace, and nbconvert would turn it into a prefix inside headings.
_NAMESPACE = ' xmlns="http://www.w3.org/1998/Math/MathML"'
# What latex2mathml copies without reading it: an unknown command, or a bare ampersand.
_UNREAD = re.compile(r"\\[A-Za-z]+|>&<")


def to_mathml(formula: str, display: str) -> str:
    """A LaTeX formula as a MathML element; `display` is "inline" or "block".

    Raises ValueError if the formula holds something that latex2mathml cannot read.
    """
    # The same layout under the name that latex2mathml knows.
    known = formula.replace("{aligned}", "{align*}")
    try:
        element = convert(known, display=display)
    except Exception as error:  # a dozen kinds without another common base
        raise ValueError(
            f"The formula `{formula}` is not LaTeX that latex2mathml can read "
            f"({type(error).__name__}). Check its braces, or write it more simply."
        ) from error
    unread = _UNREAD.search(element)
    if unread:
        raise ValueError(
            f"The formula `{formula}` contains `{unread.group().strip('<>')}`, which latex2mathml "
            f"cannot read. Write it with other commands."
        )
    return element.replace(_NAMESPACE, "")
