"""The group of all commands, and the one place where what goes wrong becomes an exit status and a line on stderr."""

from __future__ import annotations

__all__ = ["App", "app"]

import os
import sys
import traceback as tracebacks
from typing import Any

import click

import embedfit
from embedfit.cli import advise, align, demo, doctor, look, prepare, train, tune, use
from embedfit.cli.interrupt import INTERRUPTED, Interrupted
from embedfit.cli.terminal import complain
from embedfit.errors import EmbedfitError

FAILED = 2
COMMANDS = (
    demo.demo, prepare.audit, prepare.init, train.train, use.evaluate, use.search, use.encode,
    align.align, advise.advise, tune.tune, doctor.diagnose, doctor.fix, look.report, look.explain, look.completion,
)  # fmt: skip


class App(click.Group):
    """Commands in the order in which they are used; errors in our own words."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of `COMMANDS`, which is the order of the work."""
        return list(self.commands)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line and leave: 0 fine, 1 findings, 2 could not do it, 130 interrupted."""
        try:
            status = super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            status = FAILED
        except click.ClickException as error:
            status = misused(error)
        except click.Abort:
            status = INTERRUPTED
        sys.exit(status or 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command of a context; nothing it raises gets past but misuse."""
        prepare_streams()
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
            return status
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:  # the reader has seen enough; what it did not read cannot be written at exit either
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            return 0
        except (KeyboardInterrupt, Interrupted) as stop:
            complain("interrupted", str(stop) or "nothing was written")
            return INTERRUPTED
        except EmbedfitError as error:
            complain("error", error.message, hint=error.hint)
            failure: Exception = error
        except Exception as error:
            complain("error", f"{one_line(error)}. This is a defect of embedfit", hint=where_to_report())
            failure = error
        if ctx.params["traceback"]:
            tracebacks.print_exception(failure)
        return FAILED


def misused(error: click.ClickException) -> int:
    """Say what is wrong with a command line, and which command or option was probably meant."""
    hint: str | None = None
    near = getattr(error, "possibilities", None)  # an attribute of some of click's errors
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if near:
        hint = f"did you mean {' or '.join(repr(name) for name in near)}?"
    elif ctx is not None:
        hint = f"`{ctx.command_path} --help` shows how it is used"
    message = error.message if near else error.format_message()
    complain("error", message[:1].lower() + message[1:].rstrip("."), hint=hint)
    return FAILED


def one_line(error: Exception) -> str:
    """Kind and message of an exception."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def where_to_report() -> str:
    """What a report needs to be of use."""
    return (
        f"please report the command, the version ({embedfit.__version__}) and the traceback (EMBEDFIT_TRACEBACK=1 "
        "or `embedfit --traceback ...` shows it) where you have embedfit from"
    )


def prepare_streams() -> None:
    """Characters that a terminal cannot show are escaped rather than fatal; libraries keep quiet about themselves."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@click.group(
    cls=App,
    name="embedfit",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 fine, 1 findings (or no answer), 2 could not do it, 130 interrupted. "
    "Results go to stdout, everything else to stderr; NO_COLOR is honoured.",
)
@click.version_option(embedfit.__version__, message="%(prog)s %(version)s")
@click.option("--traceback", is_flag=True, envvar="EMBEDFIT_TRACEBACK", help="Show where in embedfit an error arose.")
def app(traceback: bool) -> None:
    """Train text-embedding and two-tower matching models that converge, and find out why one does not.

    Begin with `embedfit demo`, or with `embedfit audit` and `embedfit train` on a table of your own.
    """
    del traceback  # read from the context where an error is shown


for command in COMMANDS:
    app.add_command(command)
