"""The door for Hugging Face Spaces: visitors play and save; they train only if the owner sets STUDIO_VISITORS_TRAIN=1."""

from studio.cli import main

if __name__ == "__main__":
    main(["serve", "--host", "0.0.0.0", "--port", "7860", "--no-browser", "--public"])
