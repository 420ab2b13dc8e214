"""Entry point: runs the command line and turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from hirescam_cli.errors import ExitCode, HirescamError


def main() -> None:
    """Run `hirescam`; always ends in SystemExit with one of the documented codes."""
    from hirescam_cli.cli.streams import drop_unsaid, ready_streams

    _in_utf8()
    ready_streams()
    try:
        sys.exit(_exit_code())
    finally:
        drop_unsaid()


def _exit_code() -> int:
    """Carry out the command line and say what went wrong."""
    from hirescam_cli.cli.app import app
    from hirescam_cli.cli.commands import Refusal
    from hirescam_cli.cli.streams import flush_stdout, stdout_lost

    try:
        try:
            code = app(standalone_mode=False) or ExitCode.OK
        except SystemExit as ended:
            # What typer and rich make of a reader of standard output that has gone.
            if isinstance(ended.__context__, BrokenPipeError):
                raise stdout_lost() from ended
            raise
        except BrokenPipeError as error:
            raise stdout_lost() from error
        flush_stdout()
        return int(code)
    except Refusal as refusal:
        # Not in typer's frame, which would break the names of files to fit a narrow terminal.
        refusal.show()
        return ExitCode.USAGE
    except HirescamError as error:
        _say(f"hirescam: error: {error.message}", error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        _say("hirescam: interrupted.", None)
        return ExitCode.INTERRUPTED
    except OSError as error:
        _say(f"hirescam: error: {error.strerror or error}.", None)
        return ExitCode.IO_ERROR
    except Exception as error:
        _bug(error)
        return ExitCode.BUG


def _in_utf8() -> None:
    """Start anew in Python's UTF-8 mode where the locale's encoding cannot name every file: scans are called as they
    are, and their case folders too. The streams keep the encoding that they have."""
    if sys.getfilesystemencoding().lower() == "utf-8" or not sys.executable:
        return
    encoding = getattr(sys.stdout or sys.stderr, "encoding", None) or "utf-8"
    environ = {"PYTHONIOENCODING": encoding} | os.environ | {"PYTHONUTF8": "1"}
    os.execve(sys.executable, sys.orig_argv, environ)


def _say(message: str, hint: str | None) -> None:
    with suppress(OSError):
        print(message, file=sys.stderr)
        if hint:
            print(f"  {hint}", file=sys.stderr)


def _bug(error: Exception) -> None:
    import traceback

    _say(
        f"hirescam: internal error: {type(error).__name__}: {error}",
        "This is a bug in hirescam; please report it.",
    )
    with suppress(OSError):
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
