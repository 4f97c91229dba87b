"""The room of the model: SegFormer for Keras, its layers, weights and checkpoint folders.

Only this room knows transformers. Its door: `load_model(folder_or_hub_id)`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__, load_model="segformer")
