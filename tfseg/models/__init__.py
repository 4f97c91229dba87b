"""SegFormer for Keras: the model, its layers, its weights and its checkpoint folders.

No other room imports transformers. The public door is `load_model(folder_or_hub_id)`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__, load_model="segformer")
