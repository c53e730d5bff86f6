"""A folder with which the course runs without a network: `python -m tools.offline_kit`.

It holds the files of the course, MovieLens-100K, the wheels of requirements.lock for this system
and this Python, and start.py, which sets the course up from them.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What set_up.py needs to install the course itself, beside the lock.
BUILD_TOOLS = ("hatchling>=1.26", "editables")
COURSE = (
    "cprec_lib",
    "notebooks",
    "results",
    "docs",
    "tools",
    "Makefile",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "LICENSE",
    "LICENSE-TEXT",
    "CITATION.cff",
    "data/README.md",
)
START = Path(__file__).resolve().parent / "start.py"


def write_kit(root: Path, data: Path, out: Path) -> None:
    """Write the kit of the course in `root`, with the data in `data`, to the new folder `out`.

    Raises FileNotFoundError if MovieLens-100K is not in `data`, FileExistsError if `out` is there,
    and CalledProcessError if pip, which has then said why, finds no wheels.
    """
    logs = sorted(data.glob("ml-100k.*"))
    if not logs:
        raise FileNotFoundError(f"{data} does not hold MovieLens-100K: run `make data` first.")
    copy_course(root, out)
    for path in logs:
        shutil.copy(path, out / "data")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = START.read_text(encoding="utf-8").replace("PYTHON = None", f'PYTHON = "{python}"')
    (out / "start.py").write_text(text, encoding="utf-8")
    lock = root / "requirements.lock"
    pip = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", out / "wheels"]
    subprocess.run([*pip, "-r", lock, *BUILD_TOOLS], check=True)


def copy_course(root: Path, out: Path) -> None:
    """Copy the files of the course, without what Python leaves behind."""
    out.mkdir(parents=True)
    for name in COURSE:
        source, target = root / name, out / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            left_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(source, target, ignore=left_out)
        else:
            shutil.copy(source, target)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.offline_kit", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--out", type=Path, default=Path("build/cprec-offline"))
    arguments = parser.parse_args()
    try:
        write_kit(ROOT, arguments.data, arguments.out)
    except FileExistsError:
        sys.exit(f"{arguments.out} is there already: delete it or choose another --out.")
    except FileNotFoundError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError:
        sys.exit("pip could not fetch all wheels; see its reason above.")
    print(f"Copy {arguments.out} to a machine of this kind and run `python3 start.py` in it.")


if __name__ == "__main__":
    main()
