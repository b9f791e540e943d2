"""How every command ends: an exit code, and one line on stderr for whatever a user can cause."""

import os
import signal
import sys
from collections.abc import Callable

MARK = "\x1e"  # before each line that a kernel of the report has for the terminal, among the notes of libraries


def say(line):
    """A line for the user, on stderr: what a command computes stays alone on stdout."""
    print(f"{MARK * bool(os.environ.get('RECNET_REPORT'))}{line}", file=sys.stderr, flush=True)


def is_folder(path):
    """Whether this is a folder. `Path.is_dir` raises OSError for a name longer than the file system takes."""
    return os.path.isdir(path)  # noqa: PTH112


def ended(work: Callable, *expected, interrupted="interrupted"):
    """Calls work() and returns the exit code: what it returns (None is 0), 1 after an error, 130 after Ctrl-C.

    expected: the exceptions whose messages are written for users. A disk that refuses and memory that is used up are
    told as well. Anything else is a fault of ours, and keeps its traceback.
    """
    try:
        code = work() or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        line, code = interrupted, 130
    except expected as error:
        line, code = error, 1
    except BrokenPipeError:  # who read the output has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains of the rest on leaving
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = error.filename or ("the disk" if error.errno else type(error).__name__)
        line, code = f"{where}: {error.strerror or error}", 1
    except MemoryError as error:
        line, code = f"out of memory ({error or 'no more to be had'}): what was finished is kept, so start it again", 1
    except Exception as error:
        if type(error).__name__ != "ResourceExhaustedError":  # TensorFlow's word for it
            raise
        line, code = "out of memory in TensorFlow: what was finished is kept, so start it again", 1
    say(line)
    return code
