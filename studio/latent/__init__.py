"""Third floor: places and paths in latent space, as recipes and pure functions."""
