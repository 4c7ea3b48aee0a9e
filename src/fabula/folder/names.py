"""What the files of a model folder are called; knows nothing of what is in them."""

from __future__ import annotations

FORMAT = 1
MANIFEST = "manifest.json"
INDEX = "novelty.index"
BACKWARD = "backward"
"""The folder inside a model's own of the model that reads from the end."""
NETWORK = ("config.json", "tokenizer.json", "model.safetensors")
LOGS = ("metrics.jsonl", "samples.jsonl")
ARRIVING = "arriving"
STORE = "store"
"""The folder inside a model's own of the text it learns from, where that is too large for memory; safe to delete."""
JOB = "job"
"""What names the job of several processes that a folder belongs to."""
JOB_LIMIT = 1 << 10
OURS = frozenset(
    {
        *NETWORK,
        MANIFEST,
        "training.toml",
        *LOGS,
        ARRIVING,
        JOB,
        INDEX,
        "README.md",
        "report.html",
        "checkpoints",
        "tensorboard",
        STORE,
        BACKWARD,
    }
)


def is_ours(name: str) -> bool:
    """True for a file of ours and for a temporary sibling that a kill has left behind."""
    return name in OURS or (name.startswith(".") and name[1:].rpartition(".")[0] in OURS)
