"""The model card: a folder's README.md, said in plain words from the facts of its training; reads no files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabula.config import Settings

_FORWARD = """Write with it:

    fabula write FOLDER -p "Once upon a time\""""

_BACKWARD = """It reads every story from its end, and belongs to the model in the folder above. Both together write one
that ends with a given line:

    fabula write FOLDER -p "Once upon a time" --end "And they never spoke again.\""""


def write_card(about: Mapping[str, Any], settings: Settings) -> str:
    """Markdown for people who find the folder."""
    model, text = settings.model, about["learned_from"]
    held_out = about["held_out"]
    figure = (
        f"{held_out['bits_per_byte']:.3f} bits per byte on {held_out['bytes']:,} bytes it never learned from"
        if held_out
        else "none: the whole text was learned, nothing was kept aside"
    )
    beside = about["baseline_bits_per_byte"]
    baseline = f"{beside:.3f} bits per byte on the same text" if beside else "-"
    mixed = about.get("mixture_bits_per_byte")
    both = f"| both mixed, {about['mixture_weight']:.0%} network | {mixed:.3f} bits per byte |\n" if mixed else ""
    before = about.get("old_held_out_bits_per_byte_before")
    past = (
        f"| held-out stories of the model it started from | {about['old_held_out_bits_per_byte']:.3f} bits per byte, "
        f"{before:.3f} before |\n"
        if before
        else ""
    )
    write = _BACKWARD if about.get("backward") else _FORWARD
    memory = f"the last {model.window} units" if model.window else "without limit (the state is carried)"
    return f"""# {about["name"]}

A small recurrent language model trained with fabula on one person's choice of texts.

| | |
|---|---|
| network | {model.layers} x {model.hidden} {model.cell.upper()}, {about["parameters"]:,} parameters |
| reads and writes | {about["unit"]} |
| remembers | {memory} |
| learned from | {text["words"]:,} words in {text["stories"]:,} {"story" if text["stories"] == 1 else "stories"} |
| held-out | {figure} |
| an n-gram model of the same units | {baseline} |
{both}{past}| accuracy on the text it learned | {about["train_accuracy"]:.1%} |

{write}

It says what its texts say, in their words, and may repeat them word for word. It knows nothing of the world and should
not be trusted with facts. `training.toml` holds every setting: `fabula train --config training.toml` repeats the run.
"""
