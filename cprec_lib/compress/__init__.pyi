"""The search for a small model; `__init__.py` reads this list."""

from .budget import Race as Race
from .budget import Result as Result
from .budget import compress as compress
