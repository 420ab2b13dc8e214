"""Entry point: runs the command line and turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from hirescam_cli.errors import ExitCode, HirescamError


def main() -> None:
    """Run `hirescam`; always ends in SystemExit with one of the documented codes."""
    from hirescam_cli.cli.app import app
    from hirescam_cli.cli.commands import Refusal

    try:
        sys.exit(app(standalone_mode=False) or ExitCode.OK)
    except Refusal as refusal:
        # Not in typer's frame, which would break the names of files to fit a narrow terminal.
        refusal.show()
        sys.exit(ExitCode.USAGE)
    except HirescamError as error:
        _say(f"hirescam: error: {error.message}", error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("hirescam: interrupted.", None)
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of standard output has gone: nothing can be said, and closing must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.IO_ERROR)
    except OSError as error:
        _say(f"hirescam: error: {error.strerror or error}.", None)
        sys.exit(ExitCode.IO_ERROR)
    except Exception as error:
        _bug(error)
        sys.exit(ExitCode.BUG)


def _say(message: str, hint: str | None) -> None:
    print(message, file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)


def _bug(error: Exception) -> None:
    import traceback

    _say(
        f"hirescam: internal error: {type(error).__name__}: {error}",
        "This is a bug in hirescam; please report it.",
    )
    traceback.print_exception(error, file=sys.stderr)


def _forget_working_folder() -> None:
    """`python -m` puts the working folder on the search path: nothing of it is ours, unless we lie in it."""
    here = os.getcwd()
    if not sys.flags.safe_path and sys.path[:1] == [here] and not __file__.startswith(here + os.sep):
        del sys.path[0]


def _one_of_several() -> None:
    """As `main`, for a process that torchrun started: it ends without the interpreter's clean-up.

    A thread of torch's process group that asks for the interpreter while it is taken down aborts the process
    ("terminate called without an active exception"), after all is done. Files are synced and closed by then.
    """
    try:
        main()
    except SystemExit as ended:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else ExitCode.BUG)


if __name__ == "__main__":
    _forget_working_folder()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _one_of_several()
    main()
