"""Training from one command: ``python -m inference.training --preset ucsf --out FOLDER``."""

import typer

from inference.training.command import main

if __name__ == "__main__":
    typer.run(main)
