"""What the studio page costs: its script, and the time from a click to the first word on the screen.

A real Chromium asks a real server on this machine, with the model of benchmarks/serving.py: ten million random weights.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import median, write
from serving import make, serving

BUILT = Path(__file__).parents[1] / "src" / "fabula" / "studio" / "page"
CLICKED = """() => new Promise(done => {
  const offered = document.querySelectorAll('.word.offered').length, begun = performance.now();
  const look = () => document.querySelectorAll('.word.offered').length !== offered
    ? requestAnimationFrame(() => done(performance.now() - begun)) : requestAnimationFrame(look);
  document.querySelector('#go-on').click();
  look();
})"""
"""Milliseconds from a click on "Go on" to the frame that shows a word more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=25)
    options = parser.parse_args()
    sizes = {
        f"{kind}, bytes gzip": sum(len(gzip.compress(path.read_bytes(), 9)) for path in BUILT.rglob(f"*.{kind}"))
        for kind in ("js", "css", "html")
    }
    with tempfile.TemporaryDirectory() as home:
        model, parameters = make(Path(home))
        with serving(model, "--home", str(Path(home) / "studio")) as (port, _):
            figures = {"parameters": parameters, **sizes, **clicked(port, options.clicks)}
    write("studio", figures)


def clicked(port: int, clicks: int) -> dict[str, Any]:
    """From the address to a page that can be used, and from a click to a word."""
    from playwright.sync_api import sync_playwright

    known = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    program = next((found for found in known if found), None)
    if program is None:
        sys.exit("a Chromium is needed to look at the page: none is installed")
    opened, found = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(5):
            page = browser.new_context().new_page()
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("#typed").wait_for()
            opened.append(page.evaluate("performance.now()") / 1000)
            page.close()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator("#typed").fill("a")
        for _ in range(clicks + 1):
            page.locator("#go-on").wait_for()
            found.append(page.evaluate(CLICKED) / 1000)
            page.wait_for_load_state("networkidle")
        browser.close()
    return {
        "page ready, seconds": median(opened), "click to first word, seconds": median(found[1:]),
        "slowest of all clicks, seconds": round(max(found[1:]), 4), "clicks": clicks,
        "browser": Path(program).name,
    }  # fmt: skip


if __name__ == "__main__":
    main()
