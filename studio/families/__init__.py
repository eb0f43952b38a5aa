"""First floor: the networks, one file per family, behind one contract (`base.py`)."""
