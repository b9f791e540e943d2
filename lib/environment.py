"""What must be installed, read from environment.yml: one list of direct dependencies, for conda and for make alike.

    python -m lib.environment [EXTRA ...]          print the pins: the report's, or those of extras of pyproject.toml
    python -m lib.environment --check [EXTRA ...]  are they installed here? If not: one line, exit 1
    python -m lib.environment --base               can this Python hold the environment? If not: one line, exit 1

Standard library only, for it runs before anything is installed, and in the syntax of Python 3.6 (no `list[str]` in a
signature): a Python that is too old must get far enough to hear so.
"""

import argparse
import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def read(name):
    """The text of a file of the repository's root."""
    return (ROOT / name).read_text(encoding="utf-8")


def pins(extras=()):
    """The pinned direct dependencies, ["numpy==2.4.6", ...]; if extras are named, theirs alone.

    Raises ValueError for an extra that pyproject.toml does not have.
    """
    if not extras:
        return re.findall(r"^ +- ([^\s#]+==[^\s#]+)", read("environment.yml"), re.MULTILINE)
    import tomllib  # since Python 3.11

    known = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    unknown = [extra for extra in extras if extra not in known]
    if unknown:
        raise ValueError(f"no extra is called {unknown[0]!r}: choose from {', '.join(known)}")
    return [pin for extra in extras for pin in known[extra]]


def unmet(pin):
    """Why the running interpreter fails `name==version` or `name[extra]==version`, in a few words; "" if not."""
    from importlib import metadata  # since Python 3.8

    name, extra, wanted = re.match(r"([\w.-]+)(?:\[([\w-]+)\])?==(\S+)", pin).groups()
    try:
        found = metadata.version(name).partition("+")[0]  # "2.13.0+cpu" is a build of 2.13.0
        for requirement in metadata.requires(name) or ():
            if requirement.endswith(f'extra == "{extra}"'):
                metadata.version(re.match(r"[\w.-]+", requirement).group())
    except metadata.PackageNotFoundError as error:
        return f"{error.name} is missing"
    return "" if found == wanted else f"{name} is {found}, not {wanted}"


def unfit(base=False):
    """Why the running interpreter will not do (its version; as a base, no venv module), in one line; "" if it will."""
    low, end = map(int, re.search(r"- python >=3\.(\d+),<3\.(\d+)", read("environment.yml")).groups())
    found = "{}.{}".format(*sys.version_info)
    if not (3, low) <= sys.version_info < (3, end):
        newest = f"3.{end - 1}"
        return f"Python {found} found, 3.{low} to {newest} is needed: install one and name it, PYTHON=python{newest}"
    if base and not importlib.util.find_spec("ensurepip"):
        return f"Python {found} has no venv module: install it (Debian: python{found}-venv) or name another, PYTHON=..."
    return ""


def main(arguments=None):
    """The command line. Returns its exit code: 0 yes; 1 no, with one line why on stderr; 2 bad arguments."""
    parser = argparse.ArgumentParser(prog="python -m lib.environment", description="What must be installed.")
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="an extra of pyproject.toml, instead of the report")
    question = parser.add_mutually_exclusive_group()
    question.add_argument("--check", action="store_true", help="is it installed here?")
    question.add_argument("--base", action="store_true", help="can this Python hold the environment?")
    asked = parser.parse_args(arguments)
    no = unfit(base=asked.base)
    if not (no or asked.base):
        try:
            wanted = pins(asked.extras)
        except ValueError as error:
            parser.error(str(error))
        if asked.check:
            lacks = [reason for reason in map(unmet, wanted) if reason]
            no = ", ".join(lacks[:2]) + (f" and {len(lacks) - 2} more" if lacks[2:] else "")
        else:
            print("\n".join(wanted))
    if no:
        print(no, file=sys.stderr)
    return int(bool(no))


if __name__ == "__main__":
    sys.exit(main())
