"""Pictures as vectors: networks that say how alike two pictures look, ours and torchvision's."""
