"""The command line: finds the subcommand, turns a person's mistake into one sentence."""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

from toolkit import __doc__ as ABOUT
from toolkit import __version__, commands
from toolkit.errors import ToolkitError

# Packages that not every installation has, by the extra that brings them.
EXTRAS = {
    **dict.fromkeys(("papermill", "nbformat", "nbconvert", "jupyter_client"), "notebooks"),
    **dict.fromkeys(("ipywidgets", "anywidget", "ipykernel", "IPython"), "notebooks"),
    **dict.fromkeys(("sentence_transformers", "datasets"), "export"),
    "faiss": "index",
    "mteb": "mteb",
    **dict.fromkeys(("distributed", "accelerate"), "cluster"),
}


def build_parser() -> argparse.ArgumentParser:
    """The parser with every module of `toolkit.commands` as a subcommand."""
    parser = argparse.ArgumentParser(prog="python -m toolkit", description=ABOUT.split("\n")[0])
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for found in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"{commands.__name__}.{found.name}")
        subparser = subparsers.add_parser(
            found.name.replace("_", "-"), help=module.HELP, description=module.HELP
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns its exit status: 2 for a person's mistake, 130 for Ctrl-C."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except ToolkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader left (`| head`): nothing more to say, and no traceback at shutdown either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {ToolkitError(f'{where}{error.strerror or error}')}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        remedy = f"pip install 'decoders-to-encoders[{extra}]'"
        print(f"error: this needs the package {error.name}: {remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
