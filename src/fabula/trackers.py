"""TensorBoard, for those who watch there: scalars, the graph, told stories, and the word vectors in the projector."""

from __future__ import annotations

import json
import warnings

import numpy as np

from fabula.errors import MissingExtraError, UsageError
from fabula.events import Began, Evaluated, Event, Finished, Listener, Stepped

EVERY = 10
"""Steps between two points of a curve."""

LABELS = 10_000
"""Most word vectors sent to the projector, the commonest first."""


def tracker(name: str) -> Listener:
    """The listener behind `--report-to`; errors: UsageError, MissingExtraError."""
    if name not in TRACKERS:
        raise UsageError(f"--report-to must be one of {', '.join(TRACKERS)}, got {name!r}")
    return TRACKERS[name]()


class TensorBoard:
    """Writes event files into FOLDER/tensorboard: `tensorboard --logdir FOLDER/tensorboard` shows them."""

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
        except ImportError:
            raise MissingExtraError("--report-to tensorboard", "track") from None
        self._writer_of = SummaryWriter
        self._writer: SummaryWriter | None = None
        self._began: Began | None = None

    def __call__(self, event: Event) -> None:
        """Listen."""
        if isinstance(event, Began):
            self._began = event
            again = event.step + 1 if event.step else None  # what an earlier run told of steps that come again goes
            self._writer = self._writer_of(log_dir=str(event.folder / "tensorboard"), purge_step=again)
            self._draw_graph(event)
        elif self._writer is None or self._began is None:
            return
        elif isinstance(event, Stepped) and event.step % EVERY == 0:
            scalars = {
                "loss": event.loss,
                "accuracy": event.accuracy,
                "gradient length": event.gradient,
                "rate": event.lr,
            }
            for name, value in scalars.items():
                self._writer.add_scalar(f"learning/{name}", value, event.step)
        elif isinstance(event, Evaluated):
            if event.held_out:
                self._writer.add_scalar("held-out/bits per byte", event.held_out.bits_per_byte, event.step)
                self._writer.add_scalar("held-out/accuracy", event.held_out.accuracy, event.step)
            self._writer.add_scalar("speed/units per second", event.tokens_per_second, event.step)
            self._writer.flush()
        elif isinstance(event, Finished):
            self._finish(event)

    def _draw_graph(self, began: Began) -> None:
        """The network as TensorBoard draws it, traced on a short run of end marks."""
        import torch  # noqa: PLC0415

        from fabula.model import LanguageModel  # noqa: PLC0415

        assert self._writer
        model = LanguageModel(began.settings.model, began.tokenizer.size, torch.Generator())
        ids = torch.full((1, 4), began.tokenizer.end)
        with warnings.catch_warnings():
            # TensorBoard reads only traced graphs, and torch has begun to call tracing old.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._writer.add_graph(model, (ids, model.initial_state(1)))

    def _finish(self, event: Finished) -> None:
        """Word vectors with their spellings, and the stories told on the way."""
        assert self._writer
        assert self._began
        tokenizer = self._began.tokenizer
        count = min(tokenizer.size - 1, LABELS)
        labels = [
            ascii(tokenizer.spelling(token).decode("utf-8", "replace"))[1:-1] or "(empty)" for token in range(count)
        ]
        matrix = np.asarray(event.weights["embedding.weight"][:count])
        self._writer.add_embedding(matrix, metadata=labels, global_step=event.step, tag="units")
        samples = self._began.folder / "samples.jsonl"
        if samples.exists():
            for line in samples.read_text(encoding="utf-8").splitlines():
                told = json.loads(line)
                self._writer.add_text("stories", told["prompt"] + told["text"], told["step"])
        self._writer.close()


TRACKERS: dict[str, type[TensorBoard]] = {"tensorboard": TensorBoard}
