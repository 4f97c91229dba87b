"""Losses: the cross-entropy that training minimises, and its class weights."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
