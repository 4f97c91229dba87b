"""The room of pictures: class maps in colour, figures, and the page that a run leaves behind."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
