"""The system's Chromium: where it is, and what to do if it is missing."""

import os
import shutil

VARIABLE = "CPREC_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ADVICE = (
    f"install one (Debian: `apt-get install chromium`), or set {VARIABLE} to the path of a "
    f"Chromium or Chrome."
)


def find_chromium() -> str:
    """The path of CPREC_CHROMIUM, else of a Chromium on the search path.

    Raises FileNotFoundError, with what to install, if there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found:
            return found
        raise FileNotFoundError(f"{VARIABLE} is {named!r}, which is no program: {ADVICE}")
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    raise FileNotFoundError(f"The tests in a browser found no Chromium: {ADVICE}")
