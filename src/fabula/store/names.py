"""What the files of a store are called; knows nothing of what is in them.

my-store/
  manifest.json                      all there is, with sizes and SHA-256; written last
  tokenizer.json
  shard-00000-00000.tokens.npy       ids of the stories of one block, one after another
  shard-00000-00000.starts.npy       where each begins, and where the last ends
  shard-00000-00000.kept.npy         which of them are learned from: no copies, none that are held out
  held-out.tokens.npy ...            the same of what is held out
  frequencies.npy                    how often each unit occurs in what is learned from

while it is made also
  plan.json                          what it is made from, and how
  shard-00000-00000.facts.npy        hash, bytes, characters and words of every story
  shard-00000-00000.json             that this block is done, with sizes and SHA-256
  copies.npy                         which stories are copies of earlier ones
"""

from __future__ import annotations

import re

FORMAT = 1
KIND = "fabula store"
"""What a manifest begins with."""

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
PLAN = "plan.json"
FREQUENCIES = "frequencies.npy"
COPIES = "copies.npy"
HELD_OUT = "held-out"

KINDS = ("tokens", "starts", "kept")
FACTS = "facts"

_STEM = re.compile(r"shard-\d{5,9}-\d{5,9}|held-out")
_OURS = re.compile(
    rf"(?:{_STEM.pattern})\.(?:(?:tokens|starts|kept|facts)\.npy|json)"
    r"|manifest\.json|tokenizer\.json|plan\.json|frequencies\.npy|copies\.npy"
)


def stem(source: int, part: int) -> str:
    """What the files of one block begin with.

    >>> stem(0, 12)
    'shard-00000-00012'
    """
    return f"shard-{source:05}-{part:05}"


def is_stem(name: str) -> bool:
    """Whether a shard may be called so: no path leaves the folder."""
    return _STEM.fullmatch(name) is not None


def array(shard: str, kind: str) -> str:
    """A file of numbers."""
    return f"{shard}.{kind}.npy"


def is_ours(name: str) -> bool:
    """True for a file of ours and for a temporary sibling that a kill has left behind."""
    return _OURS.fullmatch(name) is not None or (
        name.startswith(".") and _OURS.fullmatch(name[1:].rpartition(".")[0]) is not None
    )
