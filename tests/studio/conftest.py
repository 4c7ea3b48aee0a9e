"""What the tests of the studio share: a shelf of small models, and servers with a home of their own."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.conftest import Served, make, running

from fabula.serve.app import House
from fabula.storyteller import load
from fabula.studio.routes import Studio

STORY = (
    "The fox saw a hen. The hen said: who are you? A friend, said the fox, and he went home.\n\n"
    "The mouse saw a cat. The cat said: come here. No, said the mouse, and ran to the old mill.\n\n"
)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of random weights that read words, characters and bytes."""
    home = tmp_path_factory.mktemp("shelf")
    made = [make(home, unit, [STORY * 3]) for unit in ("words", "chars", "bytes")]
    return {path.name: path for path in made}


@pytest.fixture
def studio(shelf: dict[str, Path], tmp_path: Path) -> Iterator[Studio]:
    """A studio without a server."""
    house = House({}, folders=shelf, load=load)
    yield Studio(house, tmp_path / "home")
    house.end()


class Page:
    """A server, asked as the page asks it."""

    def __init__(self, served: Served, key: str | None) -> None:
        self.served = served
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx2.Client(base_url=served.url, timeout=60, headers=headers)

    def ask(self, method: str, path: str, /, **body: Any) -> Any:
        """The answer, which must be one."""
        answer = self.client.request(method, f"/studio/{path}", json=body or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, method: str, path: str, /, **body: Any) -> tuple[int, str]:
        """Status and line of a refusal."""
        answer = self.client.request(method, f"/studio/{path}", json=body or None)
        assert answer.status_code >= 400, answer.text
        message = answer.json()["error"]["message"]
        assert len(message.splitlines()) == 1
        return answer.status_code, message


@pytest.fixture
def page(shelf: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Starts servers on one home, one after another or side by side."""
    with ExitStack() as stack:

        def start(*arguments: str, key: str | None = None) -> Page:
            command = [sys.executable, "-m", "fabula", "serve", *map(str, shelf.values()), "--port", "0"]
            command += ["--home", str(tmp_path / "home"), *arguments]
            served = stack.enter_context(running(command, **({"FABULA_API_KEY": key} if key else {})))
            one = Page(served, key)
            stack.callback(one.client.close)
            return one

        yield start
