"""Fourth floor: all state, threads and processes."""
