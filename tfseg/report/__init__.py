"""Reports: coloured class maps, figures, and the HTML page that a training run writes."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
