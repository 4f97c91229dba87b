"""The room of flags: what each means, its default and its checks; and a run's settings as files."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
