"""What docs/serve.md tells people to type is typed here."""

import json
import re
import subprocess
import sys
from pathlib import Path

from .conftest import Served

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "serve.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_client_works_as_it_is_shown(served: Served) -> None:
    (code,) = blocks("python")
    code = code.replace("http://127.0.0.1:8000", served.url).replace('"tales"', '"chars"')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_curl_works_as_it_is_shown(served: Served) -> None:
    (command,) = [block for block in blocks("sh") if block.startswith("curl")]
    command = command.replace("http://127.0.0.1:8000", served.url).replace('{"prompt"', '{"model": "chars", "prompt"')
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=120)
    assert '"finish_reason"' in done.stdout, done.stderr


def test_a_story_in_pieces_is_told_as_it_is_shown(served: Served, tmp_path: Path) -> None:
    (commands,) = [block for block in blocks("sh") if "piece.json" in block]
    commands = commands.replace("http://127.0.0.1:8000", served.url)
    commands = commands.replace('-d "$1"', """-d "$(echo "$1" | sed 's/^{/{"model": "chars", /')\"""")
    read = "import json, sys; print(json.dumps(json.load(open(sys.argv[1]))['state']))"
    jq = f"""jq() {{ {sys.executable} -c "{read}" "$2"; }}\n"""
    subprocess.run(["bash", "-ec", jq + commands], check=True, timeout=120, cwd=tmp_path)
    pieces = [json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in ("piece.json", "next.json")]
    whole = served.post(model="chars", prompt="The fox said", seed=7, max_tokens=80).json()["choices"][0]["text"]
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == whole
    assert pieces[1]["usage"]["prompt_tokens"] == 0


def test_the_limits_are_those_of_the_code() -> None:
    from fabula.cli.serve import SHORTEST
    from fabula.serve import limits
    from fabula.tale import RECENT

    bounds, text = limits.Limits(), GUIDE.read_text(encoding="utf-8")
    wanted = [
        f"{bounds.body >> 20} MiB", f"{bounds.bodies >> 20} MiB",
        f"| {limits.PROMPTS}, together {bounds.prompt:,} units",
        f"{bounds.judged:,} with `echo`", f"`best_of` {limits.STORIES}", f"all prompts {bounds.stories};",
        f"their prompts {bounds.histories:,}",
        f"| {limits.TOKENS:,} |", f"{limits.STOPS} of {limits.STOP} characters", f"{limits.BIASES:,} units",
        f"`state` {limits.STATE:,} characters", f"the last {RECENT:,} units", f"of {SHORTEST} bytes or more",
        f"`logprobs` {limits.TOP}", f"{bounds.seconds:g} s;", f"{bounds.receive:g} s to arrive",
        f"{bounds.send:g} s without", f"{bounds.queue:,} stories", f"Up to {bounds.rows} stories",
    ]  # fmt: skip
    assert [one for one in wanted if one not in text] == []
