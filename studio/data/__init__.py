"""Second floor: from a folder or a zip that nobody vouches for to a prepared dataset."""
