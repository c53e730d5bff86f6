"""Set the course up from the wheels in this folder and open JupyterLab: `python3 start.py`.

Nothing is fetched. Afterwards `make lab` and `make course` work here as well, without a network.
"""

import os
import subprocess
import sys
from pathlib import Path

PYTHON = None  # the version that the wheels are for
HERE = Path(__file__).resolve().parent


def main():
    """Set up once, then open JupyterLab at the first notebook; `--no-lab` only sets up."""
    here = "{}.{}".format(*sys.version_info[:2])
    if here != PYTHON:
        sys.exit(f"The wheels are for Python {PYTHON}, and this is {here}. Run start.py with it.")
    os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(HERE / "wheels"))
    os.chdir(HERE)
    sys.path.insert(0, str(HERE))
    from tools import set_up

    if not (HERE / ".venv" / ".ready").exists():
        set_up.main()
    if "--no-lab" not in sys.argv:
        python = str(set_up.environment_python(HERE / ".venv"))
        subprocess.run([python, "-m", "cprec_lib", "workbook"], check=True)
        lab = ["jupyterlab", "--ip=127.0.0.1", "--allow-root", "my_work/00_start_here.ipynb"]
        subprocess.run([python, "-m", *lab], check=False)


if __name__ == "__main__":
    main()
