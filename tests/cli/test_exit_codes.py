"""Expected errors become one line and an exit code; a bug keeps its traceback."""

import errno
import os

import pytest

from tfseg.cli.exit_codes import errors_as_exit_codes
from tfseg.errors import UserError


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("--epochs must be\n  at least 1"), 1, "error: --epochs must be at least 1\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/runs"),
            1,
            "error: /runs: permission denied\n",
        ),
        (PermissionError("locked"), 1, "error: locked: permission denied\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_expected_errors(error, code, line, capsys):
    with pytest.raises(SystemExit) as caught, errors_as_exit_codes():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "wording of another library"),
        OSError(errno.EDQUOT, "wording of another library"),
        # TensorFlow's errors have no number.
        RuntimeError(f"runs/x.tmp; {os.strerror(errno.ENOSPC)} [Op:SaveV2]"),
        RuntimeError(f"runs/x.tmp; {os.strerror(errno.EFBIG)} [Op:SaveV2]"),
    ],
    ids=str,
)
def test_a_full_disk(error, capsys):
    with pytest.raises(SystemExit) as caught, errors_as_exit_codes():
        raise error
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("error: cannot write any more: ")
    assert message.endswith("all files that were saved before are complete\n")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        OSError(errno.ENOENT, "No such file"),
        RuntimeError("bad example 3: mask and image differ in size"),
    ],
    ids=str,
)
def test_any_other_error_is_raised(error, capsys):
    with pytest.raises(type(error)) as caught, errors_as_exit_codes():
        raise error
    assert caught.value is error
    assert capsys.readouterr().err == ""


def test_without_an_error_nothing_happens(capsys):
    with errors_as_exit_codes():
        print("done")
    assert capsys.readouterr() == ("done\n", "")
