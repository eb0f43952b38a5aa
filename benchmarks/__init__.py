"""What the README's figures come from. Each module is a script: `python -m benchmarks.live`."""
