"""Signals that ask to stop: real ones, in real processes."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fabula import stopping

BUSY = """
import hashlib, sys, threading
from fabula import stopping
try:
    with stopping.leaving():
        threading.Timer(0.2, print, ["begun"], {"flush": True}).start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # many minutes in which Python hears nothing
except stopping.Stopped as stopped:
    sys.exit(stopped.exit_code)
"""

PATIENT = """
import sys, time
from fabula import stopping
heard = []
with stopping.leaving():
    with stopping.listening(heard.append):
        print("begun", flush=True)
        while not heard:
            time.sleep(0.01)
        time.sleep(stopping.GRACE + 0.5)  # who takes note has the time it takes
    print("saved", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)], ids=["INT", "TERM", "USR1"]
)
def test_what_computes_deaf_to_python_is_left_all_the_same(number: int, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(timeout=60) == code


def test_a_second_one_does_not_wait() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) in {75, 130}


def test_who_takes_note_is_not_hurried() -> None:
    with subprocess.Popen([sys.executable, "-c", PATIENT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "saved\n"
        assert process.wait(timeout=60) == 0


def test_handlers_are_put_back_and_an_exception_says_which_signal_it_was() -> None:
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with pytest.raises(stopping.Stopped) as caught, stopping.leaving():
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(10)
    assert caught.value.exit_code == 75
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
    assert isinstance(caught.value, KeyboardInterrupt)


def test_waiting_ends_when_somebody_wants_to_leave() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    stopping.wait(thread, 0.0)
    stopping.wait(thread, until=lambda: True)
    assert thread.is_alive()
    gate.set()
    stopping.wait(thread)
    assert not thread.is_alive()


def test_a_signal_is_known_in_the_error_that_took_its_place() -> None:
    class Field:
        def __set_name__(self, owner: type, name: str) -> None:
            raise stopping.Stopped(signal.SIGTERM)

    try:
        type("Column", (), {"cells": Field()})
    except RuntimeError as error:  # Python 3.11
        found = stopping.cause(error)
    except stopping.Stopped as stopped:
        found = stopping.cause(stopped)
    assert getattr(found, "exit_code", None) == stopping.PREEMPTED
    circle = ValueError()
    circle.__context__ = KeyError()
    circle.__context__.__context__ = circle
    assert stopping.cause(circle) is None
