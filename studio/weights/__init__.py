"""Second floor: models as folders: card, weights, shelf."""
