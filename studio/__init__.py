"""Latent Studio: a browser studio for artists who work with generative adversarial networks."""

__version__ = "0.1.0"
