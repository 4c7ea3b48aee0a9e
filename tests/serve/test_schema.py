"""The description of the API, and requests that a machine makes up from it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Served


def test_the_description_names_what_there_is(served: Served) -> None:
    schema = served.get("/openapi.json").json()
    assert set(schema["paths"]) == {
        "/v1/completions", "/v1/chat/completions", "/v1/models", "/v1/models/{model}", "/health", "/metrics",
    }  # fmt: skip
    fields = schema["components"]["schemas"]["CompletionBody"]
    assert fields["additionalProperties"] is False
    assert {"prompt", "max_tokens", "logprobs", "echo", "best_of", "words"} <= set(fields["properties"])


def test_no_request_makes_the_server_fail(faulty: Callable[..., Served], tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists() and shutil.which("schemathesis") is None:
        pytest.skip("no schemathesis here")
    served = faulty(seconds=0.3)
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,unsupported_method"
    done = subprocess.run(
        [str(program), "run", f"{served.url}/openapi.json", "--checks", checks, "--max-examples", "8", "--seed", "1",
         "--phases", "coverage,fuzzing", "--generation-database", "none", "--no-color"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert served.get("/health").status_code == 200
    assert served.figure("fabula_failures_total") == 0
