"""What the text teaches given the passes that two cores have no time for: fine-tuning at length, and new items by language.

python -m tests.benchmarks.learning --encoder DIRECTORY [--device cuda] [--only speed users items texts] [--seeds 3]

Reads .gpu/learning.npz and .gpu/start.safetensors of tests.benchmarks.learning_data; needs torch, transformers and peft, but
neither Spark nor Java. Examples before the last two cuts train, those of the next choose, those of the last are looked at once.
95 % over users.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from tests.benchmarks.learning_items import items
from tests.benchmarks.learning_speed import speed
from tests.benchmarks.learning_texts import texts
from tests.benchmarks.learning_users import users

PARTS = {"speed": speed, "users": users, "items": items, "texts": texts}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path(".gpu"))
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--few", type=int, default=0, help="steps at most, to try the code; 0: all")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    asked = parser.parse_args()
    name = torch.cuda.get_device_name() if asked.device == "cuda" else f"{torch.get_num_threads()} threads"
    sys.stdout.write(f"torch {torch.__version__}, {asked.device}: {name}\n")
    for part in asked.only:
        PARTS[part](asked)


if __name__ == "__main__":
    main()
