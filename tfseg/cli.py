"""Flags made from the configuration dataclasses, and the frame that every entry point runs in."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import logging
import os
import re
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from tfseg.config import commands as config_lib
from tfseg.config import serialization, validation
from tfseg.errors import UserError

# Read by the C++ and Hub libraries when they are imported: errors only.
_QUIET_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GRPC_VERBOSITY": "ERROR",
    "ABSL_MIN_LOG_LEVEL": "2",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

# No space, quota used up, file too large for the file system or its limit.
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _TupleParser(flags.ArgumentParser):
    """Parses `288,384` into a tuple of ints or floats; `repeat` doubles a single number."""

    syntactic_help = "numbers separated by commas"

    def __init__(self, item_type: type, repeat: bool):
        super().__init__()
        self._item_type = item_type
        self._repeat = repeat

    def parse(self, argument: Any) -> tuple:
        if isinstance(argument, tuple):
            return argument
        try:
            items = tuple(self._item_type(part) for part in argument.split(",") if part.strip())
        except ValueError:
            raise ValueError(
                f"expected {self._item_type.__name__} values separated by commas"
            ) from None
        return items * 2 if self._repeat and len(items) == 1 else items

    def flag_type(self) -> str:
        return f"comma-separated {self._item_type.__name__}s"


class _TupleSerializer(flags.ArgumentSerializer):
    def serialize(self, value: tuple) -> str:
        return serialization.format_value(value)


class _OptionalParser(flags.ArgumentParser):
    """Accepts `none` for a field whose default is a value and which may have none."""

    def __init__(self, parser: flags.ArgumentParser):
        super().__init__()
        self._parser = parser
        self.syntactic_help = f"{parser.syntactic_help} or none"

    def parse(self, argument: Any) -> Any:
        is_none = argument is None or str(argument).lower() == "none"
        return _NONE if is_none else self._parser.parse(argument)

    def flag_type(self) -> str:
        return f"{self._parser.flag_type()} or none"


class _None:
    """A given `none`; absl takes a plain None for "not given"."""

    def __str__(self) -> str:
        return "none"


_NONE = _None()


def define_train_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `TrainConfig`'s sections."""
    for section in dataclasses.fields(config_lib.TrainConfig):
        _define(section.default, flag_values)


def define_eval_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `EvalConfig`'s sections."""
    for section in dataclasses.fields(config_lib.EvalConfig):
        _define(section.default, flag_values)


def define_predict_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `PredictConfig`."""
    _define(config_lib.PredictConfig(), flag_values)


def define_export_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `ExportConfig`."""
    _define(config_lib.ExportConfig(), flag_values)


def config_from_flags(config_class: type, flag_values: flags.FlagValues = flags.FLAGS) -> Any:
    """Builds `config_class` from parsed flags.

    Raises:
        UserError: A value is not allowed, or a required flag is missing.
    """
    fields = dataclasses.fields(config_class)
    if dataclasses.is_dataclass(fields[0].default):
        sections = {
            field.name: config_from_flags(type(field.default), flag_values) for field in fields
        }
        return config_class(**sections)
    values = {field.name: flag_values[field.name].value for field in fields}
    config = config_class(
        **{name: None if value is _NONE else value for name, value in values.items()}
    )
    validation.require(config)
    return config


def run(main: Callable[[Sequence[str]], None], *, takes_arguments: bool = False) -> None:
    """Parses flags and runs `main`; a user's mistake ends in one line and exit code 1."""
    for name, value in _QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logger = logging.getLogger("tfseg")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(sys.stdout))
    logger.propagate = False
    app.run(lambda argv: _guard(main, argv, takes_arguments))


def import_quietly(name: str) -> types.ModuleType:
    """Imports a module that loads TensorFlow, without TensorFlow's start-up messages.

    No environment variable silences what its C++ side prints before its log is set up, so the
    file descriptor is held back until the devices are known. A failure shows it after all, and so
    does `--verbosity=1`.
    """
    if flags.FLAGS.verbosity > 0:
        return importlib.import_module(name)
    absl_logging.set_verbosity(absl_logging.WARNING)
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            module = importlib.import_module(name)
            importlib.import_module("tensorflow").config.list_logical_devices()
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    return module


def _guard(main: Callable[[Sequence[str]], None], argv: Sequence[str], takes_arguments: bool):
    try:
        if len(argv) > 1 and not takes_arguments:
            raise UserError(f"unexpected word {argv[1]!r}: flags start with --, see --help")
        main(argv)
    except UserError as error:
        _fail(str(error))
    except PermissionError as error:
        _fail(f"{error.filename}: permission denied")
    except Exception as error:
        bad_example = re.search(r"bad example [^\n]*", str(error))
        if bad_example:
            _fail(f"{bad_example.group()}; repair it, or --on_bad_example=skip")
        # TensorFlow reports a full disk as an error of its own.
        is_full = getattr(error, "errno", None) in _FULL_DISK
        if not is_full and not any(os.strerror(code) in str(error) for code in _FULL_DISK):
            raise
        _fail(f"cannot write any more: {error}; what was saved before is whole")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(1)


def _define(defaults: Any, flag_values: flags.FlagValues) -> None:
    hints = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        choices = field.metadata.get("choices")
        help_text = field.metadata["help"] + (f"; one of {', '.join(choices)}" if choices else "")
        _define_one(field.name, hints[field.name], field.default, help_text, flag_values)


def _define_one(
    name: str, hint: Any, default: Any, help_text: str, flag_values: flags.FlagValues
) -> None:
    arguments = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    base = arguments[0]
    if base is bool:
        flags.DEFINE_boolean(name, default, help_text, flag_values=flag_values)
        return
    parser, serializer = _parser_for(base)
    if type(None) in arguments and default is not None:
        parser = _OptionalParser(parser)
    flags.DEFINE(parser, name, default, help_text, flag_values, serializer)


def _parser_for(base: Any) -> tuple[flags.ArgumentParser, flags.ArgumentSerializer]:
    if typing.get_origin(base) is tuple:
        items = typing.get_args(base)
        return _TupleParser(items[0], repeat=items == (int, int)), _TupleSerializer()
    parsers = {int: flags.IntegerParser, float: flags.FloatParser, str: flags.ArgumentParser}
    return parsers[base](), flags.ArgumentSerializer()
