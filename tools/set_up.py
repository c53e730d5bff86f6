"""Make the environment .venv and install the course into it: `python tools/set_up.py`.

Python 3.6 and later can read this file, so a Python that is too old gets a clear message.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)


def complaint(version):
    """Say what is wrong with this Python version, a (major, minor) pair; None if it is fine."""
    if OLDEST <= version <= NEWEST:
        return None
    here, oldest, newest = (f"{major}.{minor}" for major, minor in (version, OLDEST, NEWEST))
    return (
        f"This is Python {here}, and the course needs {oldest} to {newest}. Install one of those "
        f"and name it, as in: make PYTHON=python{oldest} course"
    )


def missing_module():
    """Say how to install the modules that make an environment; None if they are present."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        return (
            f"This Python comes without the module {error.name}, which makes the environment. "
            f"On Debian and Ubuntu: apt install python3-venv."
        )
    return None


def environment_python(environment):
    """The path of the environment's own Python."""
    if sys.platform == "win32":
        return environment / "Scripts" / "python.exe"
    return environment / "bin" / "python"


def set_up(root):
    """Make root/.venv, install the lock and the package, and write the stamp that make reads."""
    environment = root / ".venv"
    python = str(environment_python(environment))
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    lock = str(root / "requirements.lock")
    print(f"Setting up {environment}; the download takes a few minutes, once.", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    subprocess.run([*pip, "install", "-r", lock, "-e", str(root)], check=True)
    (environment / ".ready").touch()


def main():
    """Set up the course, or exit with the reason why that is not possible."""
    problem = complaint(sys.version_info[:2]) or missing_module()
    if problem:
        sys.exit(problem)
    try:
        set_up(ROOT)
    except subprocess.CalledProcessError as error:
        sys.exit(f"Set-up stopped at `{' '.join(error.cmd)}`; see the reason above.")


if __name__ == "__main__":
    main()
