"""The frame that every entry point runs in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from absl import app

from tfseg.cli import exit_codes, quiet_start, run_log, sectioned_help
from tfseg.errors import UserError


def run(main: Callable[[Sequence[str]], None], *, takes_arguments: bool = False) -> None:
    """Parses the flags, runs `main` and ends the program.

    Args:
        main: Takes the program's name and the words that are not flags.
        takes_arguments: Whether words that are not flags are allowed.
    """
    quiet_start.set_environment()
    run_log.print_to_stdout()
    sectioned_help.define_help_flags()
    app.call_after_init(quiet_start.limit_absl_log)

    def guarded_main(argv: Sequence[str]) -> None:
        with exit_codes.errors_as_exit_codes():
            if len(argv) > 1 and not takes_arguments:
                raise UserError(f"unexpected word {argv[1]!r}: flags start with --, see --help")
            main(argv)

    app.run(guarded_main)
