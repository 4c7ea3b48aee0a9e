"""The model folder: write, verify, read, and its checkpoints; the only room that knows where a model's files lie.

    my-stories/
      config.json  tokenizer.json  model.safetensors      what the network is
      training.toml                                        all settings; `fabula train --config` repeats the run
      metrics.jsonl  samples.jsonl                         every evaluation, every story told on the way
      novelty.index                                        runs of words of the training text, as hashes
      README.md  report.html                               for people: the model card, the page of the training
      checkpoints/step-000000001200/                       to go on exactly; safe to delete
      store/                                               the text, where memory could not hold it; safe to delete
      backward/                                            a model of the same units that reads stories from their ends
      job                                                  what names the job of several processes that it belongs to
      arriving/                                            only after a kill: a whole model on its way up from here
      manifest.json                                        format version, size and SHA-256 of every file; written last

No pickle anywhere: tensors are safetensors, everything else is text. Every write goes to a temporary sibling, is
synced, and is then renamed (see `disk`). A new model is whole in `arriving` before a file of an older one goes, and is
read from there until all of it has moved. The manifest leaves report.html out: it may be written anew at any time.
"""

from fabula.folder.claims import check_claim, claim, held, is_of
from fabula.folder.logs import append, log_lengths, publish, read_records, rewind_logs
from fabula.folder.model import Model, Weights, fingerprint, read_backward, read_index, read_model, write_model
from fabula.folder.names import ARRIVING, BACKWARD, FORMAT, INDEX, LOGS, MANIFEST, NETWORK, STORE
from fabula.folder.sealed import as_json, digest, newest, read_text
from fabula.folder.steps import Checkpoint, latest_step, read_checkpoint, write_checkpoint

__all__ = [
    "ARRIVING",
    "BACKWARD",
    "FORMAT",
    "INDEX",
    "LOGS",
    "MANIFEST",
    "NETWORK",
    "STORE",
    "Checkpoint",
    "Model",
    "Weights",
    "append",
    "as_json",
    "check_claim",
    "claim",
    "digest",
    "fingerprint",
    "held",
    "is_of",
    "latest_step",
    "log_lengths",
    "newest",
    "publish",
    "read_backward",
    "read_checkpoint",
    "read_index",
    "read_model",
    "read_records",
    "read_text",
    "rewind_logs",
    "write_checkpoint",
    "write_model",
]
