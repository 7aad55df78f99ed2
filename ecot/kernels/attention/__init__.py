"""Document-masked attention for packed batches; importing this registers `ecot_varlen` with transformers."""

from ecot.kernels.attention.documents import model_inputs
from ecot.kernels.attention.interface import NAME, register_attention

register_attention()

__all__ = ["NAME", "model_inputs", "register_attention"]
