"""Sentences of the page that are written in Python. (Those of live parts stand beside their JavaScript.)"""

TITLE = "Latent Studio"
ROOMS = {"shelf": "Shelf", "play": "Play", "train": "Train", "gallery": "Gallery"}
