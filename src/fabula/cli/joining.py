"""`fabula write --end`: a story that ends with a given line, told from both sides."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from fabula.cli import visible
from fabula.cli.options import STDIN, layered, print_json
from fabula.cli.waiting import waiting
from fabula.config import resolve
from fabula.errors import UsageError
from fabula.meeting import Joined

NEAR = 24
"""Characters shown on either side of the seam."""


def join(
    folders: tuple[str, ...],
    prompt: str,
    end: str,
    *,
    words: int | None,
    number: int,
    flags: Mapping[str, Any],
    assignments: tuple[str, ...],
    others: Mapping[str, object],
    precision: str,
    label: bool,
    json: bool,
    quiet: bool,
) -> int:
    """Write stories from a prompt to an end; `others` are the options that do not go with an end, by name."""
    if wrong := next((name for name, value in others.items() if value), None):
        raise UsageError(f"--end and --{wrong} do not go together: leave one out")
    if len(folders) != 1:
        raise UsageError(f"--end needs one model folder, got {len(folders)}")
    if prompt == end == STDIN:
        raise UsageError("--prompt and --end cannot both be read from stdin: give one as it is")
    from fabula.meeting import check, load  # noqa: PLC0415

    prompt, end = (sys.stdin.read() if text == STDIN else text for text in (prompt, end))
    meeting = load(folders[0], precision=precision)
    sampling = resolve(
        {"sampling": vars(meeting.settings.sampling)}, layered({"sampling": flags}, assignments)
    ).sampling
    check(prompt, end, words, sampling)
    stories = []
    for story in range(number):
        with waiting("looking for a way to the end ...", quiet=quiet):
            joined = meeting.write(prompt, end, words=words, sampling=sampling, story=story)
        said = _label(folders[0], joined, story, meeting.precision, words=words, sampling=sampling) if label else ""
        if json:
            stories.append(joined.to_json() | ({"label": said.strip()} if label else {}))
            continue
        clean = visible if sys.stdout.isatty() else str
        sys.stdout.write(("\n" if story else "") + clean(prompt + joined.text + end) + said + "\n")
        sys.stdout.flush()
        if not quiet:
            sys.stderr.write("".join(f"{visible(line)}\n" for line in _notes(joined)))
    if json:
        print_json(stories[0] if number == 1 else {"stories": stories})
    return 0


def _label(folder: str, joined: Joined, story: int, precision: str, **options: Any) -> str:  # noqa: ANN401
    from fabula.labels import label  # noqa: PLC0415

    return label(folder, joined.prompt, joined.text, story, options, end=joined.end, precision=precision)


def _notes(joined: Joined) -> list[str]:
    """What people may want to know: where the two met, and what was copied."""
    from fabula.cli.write import copies  # noqa: PLC0415

    told, untold = (joined.prompt + joined.text[: joined.seam])[-NEAR:], joined.text[joined.seam :] + joined.end
    seam = f"...{' '.join(told.split())} | {' '.join(untold[:NEAR].split())}..."
    notes = [f"met at: {seam} ({joined.nats_per_token:.2f} nats a unit)"]
    return [*notes, copies(joined.copied)] if joined.copied else notes
