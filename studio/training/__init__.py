"""Third floor: the training loop as an iterator of events, and all it needs to be resumed exactly."""
