"""`python -m cprec_lib` is the command `cprec`."""

from cprec_lib.cli.app import app

if __name__ == "__main__":
    app(prog_name="cprec")
