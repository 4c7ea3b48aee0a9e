"""What the machine is doing, and how long threads wait by it."""

import os
import subprocess
import sys

import pytest

from fabula import api, machine


def test_a_busy_program_is_seen() -> None:
    """A quiet machine cannot be asked for here: tests run beside each other."""
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=-1) as busy:
        assert busy.stdout
        busy.stdout.read(1)
        quiet = machine.is_quiet()
        busy.kill()
    assert not quiet


@pytest.mark.parametrize(("quiet", "spin"), [(True, api.QUIET_SPIN), (False, api.BUSY_SPIN)])
def test_threads_wait_longer_on_a_quiet_machine(quiet: bool, spin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_quiet", lambda: quiet)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    api.calm_threads()
    assert os.environ["GOMP_SPINCOUNT"] == "7"  # as somebody has chosen
    monkeypatch.delenv("GOMP_SPINCOUNT")
    api.calm_threads()
    assert os.environ["GOMP_SPINCOUNT"] == str(spin)
    monkeypatch.delenv("GOMP_SPINCOUNT")
    api.calm_threads(20)
    assert os.environ["GOMP_SPINCOUNT"] == "20"
