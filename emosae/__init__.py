"""emosae: find, test and map the sparse-autoencoder features that stand for emotions in a language model.

Functional features are no evidence of feelings, and the model is not the character it writes.
"""

__version__ = "0.1.0"
