"""The writing table on a whole terminal: lets the model tell, saves, leaves; knows no network.

`canvas` draws it, `acts` says what can be done, `keys` by which key.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import create_input
from prompt_toolkit.layout import HSplit, Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.output import ColorDepth, create_output

from fabula.cli import facts, visible
from fabula.cli.canvas import LEAST, LOOK, Canvas, View
from fabula.cli.keys import bindings
from fabula.cli.plain import write
from fabula.errors import FabulaError
from fabula.stopping import INTERRUPTED
from fabula.table import Desk, Keeper

AUTOSAVE = 0.5
"""Seconds after which what changed is saved; more where saving takes long."""

PACE = 1 / 40
"""Seconds in which a word can be seen before the next one comes."""

GONE = (errno.EIO, errno.EPIPE, errno.ENXIO, errno.EBADF)
"""What a terminal says that is no longer there."""


class Screen:
    """The application: the story, a list, a line of facts, a line of help."""

    def __init__(self, desk: Desk, keeper: Keeper, stretch: str) -> None:
        self.desk, self.keeper, self.stretch, self.view = desk, keeper, stretch, View()
        self.canvas = Canvas(desk, self.view)
        self.asked = stretch
        """How far the model was let go on last."""
        self._telling: object | None = None  # stands for the telling that is going on
        self._code = 0
        self._exported: Path | None = None
        self.app: Application[None] = Application(
            Layout(
                HSplit(
                    [
                        Window(FormattedTextControl(self._top, focusable=True), height=lambda: self.height),
                        Window(FormattedTextControl(self._list), height=lambda: self._rows),
                        Window(FormattedTextControl(self._facts), height=1),
                        Window(FormattedTextControl(self._hint), height=lambda: self._hints),
                    ]
                )
            ),
            key_bindings=bindings(self),
            style=LOOK,
            full_screen=True,
            color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
            input=create_input(sys.stdin),
            output=create_output(sys.stdout if sys.stdout.isatty() else sys.stderr),
            after_render=self._drawn,
        )
        self.app.ttimeoutlen = self.app.timeoutlen = 0.05

    # --- what is where ---------------------------------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal."""
        size = self.app.output.get_size()
        return size.columns, size.rows

    @property
    def height(self) -> int:
        """Lines of the story."""
        return max(1, self.size[1] - 1 - self._hints - self._rows)

    @property
    def _rows(self) -> int:
        """Lines of the list."""
        panel = self.view.panel
        return min(len(panel.lines) + 1, max(3, self.size[1] // 3)) if panel and not self._tiny else 0

    @property
    def _hints(self) -> int:
        """Lines of the message or the hint."""
        return 1 if self._tiny else len(self.canvas.hint(self.size[0]))

    @property
    def _tiny(self) -> bool:
        return self.size[0] < LEAST[0] or self.size[1] < LEAST[1]

    def _top(self) -> StyleAndTextTuples:
        if self._tiny:
            return [("", f"too small: {LEAST[0]}x{LEAST[1]} needed")]
        if self.view.help:
            self.view.top = max(0, min(self.view.top, len(self.view.help) - self.height))
            return [("", "\n".join(self.view.help[self.view.top :]))]
        return self.canvas.story(self.size[0], self.height)

    def _list(self) -> StyleAndTextTuples:
        return [] if self._tiny else self.canvas.panel(self.size[0], self._rows)

    def _facts(self) -> StyleAndTextTuples:
        return [] if self._tiny else self.canvas.facts(self.size[0])

    def _hint(self) -> StyleAndTextTuples:
        return [] if self._tiny else [("", "\n".join(self.canvas.hint(self.size[0])))]

    def _drawn(self, app: Application[None]) -> None:
        if self.canvas.unfinished:
            app.invalidate()

    def say(self, message: str) -> None:
        """A message in place of the hint."""
        self.view.message = " ".join(message.split())

    # --- telling ---------------------------------------------------------------------------------------------------

    def go_on(self, stretch: str) -> None:
        """Let the model tell: the first word at once, the others one by one as one watches."""
        self.view.ask(None)
        self.asked, words = stretch, self.desk.tell(stretch)
        next(words, None)
        if stretch != "word":
            self._telling, self.view.telling = object(), True
            self.app.create_background_task(self._tell(self._telling, words))

    def stop(self) -> bool:
        """Stop it; whether it was telling."""
        was, self._telling, self.view.telling = self._telling is not None, None, False
        return was

    async def _tell(self, telling: object, words: Iterator[int]) -> None:
        try:
            while self._telling is telling and next(words, None) is not None:
                self.app.invalidate()
                await asyncio.sleep(PACE)
        except FabulaError as error:
            self.say(str(error))
        except Exception as error:  # noqa: BLE001 - the screen must go before anybody can read of it
            self.fail(error)
        if self._telling is telling:
            self.stop()
            self.app.invalidate()

    # --- keeping ---------------------------------------------------------------------------------------------------

    def save(self) -> bool:
        """Save what changed; says why where it cannot."""
        before = self.keeper.path
        try:
            self.keeper.save(self.desk.table)
        except FabulaError as error:
            self.say(str(error))
            self.app.invalidate()
            return False
        if self.keeper.path != before:
            self.say(f"another program changed {before}: from now on in {self.keeper.path}")
            self.app.invalidate()
        return True

    def export(self) -> Path:
        """Save the present story as text, beside the table; never over a file that was there before."""
        place = self.keeper.path or Path("story.json")
        numbered = (place.with_name(f"{place.stem}{tail}.txt") for tail in ("", *(f"-{n}" for n in range(2, 10_000))))
        path = self._exported or next(path for path in numbered if not path.exists())
        write(path, self.desk.table.text)
        self._exported = path
        return path

    def _begin(self) -> None:
        self.app.create_background_task(self._autosave())

    async def _autosave(self) -> None:
        while True:
            began = time.perf_counter()
            self.save()
            await asyncio.sleep(max(AUTOSAVE, 20 * (time.perf_counter() - began)))

    # --- coming and going ------------------------------------------------------------------------------------------

    async def sit(self) -> int:
        """Stay until the writer leaves, or is made to; the exit code."""
        loop = asyncio.get_running_loop()
        for name in ("SIGTERM", "SIGHUP"):
            with suppress(NotImplementedError, AttributeError):
                loop.add_signal_handler(getattr(signal, name), self.leave, INTERRUPTED)
        try:
            await self.app.run_async(pre_run=self._begin, set_exception_handler=False)
        except EOFError:
            self._code = INTERRUPTED
        except OSError as error:
            if error.errno not in GONE:
                raise
            self._code = INTERRUPTED
        return self._code

    def leave(self, code: int = 0) -> None:
        """Save and go."""
        self.stop()
        self.save()
        self._code = code
        if self.app.is_running and self.app.future and not self.app.future.done():
            self.app.exit()

    def fail(self, error: Exception) -> None:
        """Go by way of an error that is ours."""
        self.stop()
        if self.app.is_running and self.app.future and not self.app.future.done():
            self.app.exit(exception=error)


def run(desk: Desk, keeper: Keeper, stretch: str, *, quiet: bool) -> int:
    """Sit at the table; afterwards the story goes to stdout where that is not the terminal."""
    screen, table = Screen(desk, keeper, stretch), desk.table
    to_file, begun = not sys.stdout.isatty(), len(table.words) > 1
    screen.say(f"welcome back: {keeper.path}" if begun else "type a beginning, or let the model begin with Enter")
    saved = False
    try:
        code = asyncio.run(screen.sit())
        keeper.save(table)
        saved = True
    finally:
        if to_file or not saved:  # a story that could not be saved must not be lost
            sys.stdout.write(f"{table.text if to_file else visible(table.text)}\n")
            sys.stdout.flush()
    with suppress(OSError):  # the terminal may be gone
        if not quiet:
            where = f"saved in {keeper.path}; " if keeper.path and keeper.path.exists() else ""
            sys.stderr.write(visible(f"{where}{facts.copied(desk.copied())}") + "\n")
            sys.stderr.flush()
    return code
