"""What is installed and what this machine can do: versions, device, threads, number formats, extras."""

from __future__ import annotations

import platform
import sys
from importlib import metadata, util

from fabula import machine
from fabula.version import __version__

CORE = (
    "numpy",
    "tokenizers",
    "safetensors",
    "onnxruntime",
    "onnx",
    "rich",
    "platformdirs",
)
EXTRAS = {
    "train": ("torch",),
    "chat": ("prompt_toolkit",),
    "formats": ("selectolax",),
    "data": ("pyarrow", "datasets"),
    "cjk": ("icu4py",),
    "track": ("tensorboard",),
    "vectors": ("gensim",),
    "serve": ("fastapi", "uvicorn", "prometheus-client"),
}


def diagnose() -> dict[str, dict[str, object]]:
    """Facts by section; loads torch, when it is there, to ask it about the device and bf16."""
    return {
        "fabula": {"version": __version__, "python": sys.version.split()[0], "system": platform.platform()},
        "machine": _machine(),
        "core": {name: _version(name) for name in CORE},
        "extras": {extra: _extra(extra, names) for extra, names in EXTRAS.items()},
    }


def _machine() -> dict[str, object]:
    facts: dict[str, object] = {"processor": _processor(), "cores": machine.cores()}
    if util.find_spec("torch") is None:
        return facts | {"training": "not possible: pip install 'fabula[train]'"}
    import torch  # noqa: PLC0415

    from fabula import precision, processor  # noqa: PLC0415

    place = processor.device("auto").type
    return facts | {
        "device": torch.cuda.get_device_name() if place == "cuda" else place,
        "threads": torch.get_num_threads(),
        "training precision": precision.choose("auto", processor.SAMPLE[-1], place),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    """The processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _extra(extra: str, names: tuple[str, ...]) -> str:
    versions = {name: _version(name) for name in names}
    if "missing" in versions.values():
        return f"not installed: pip install 'fabula[{extra}]'"
    return ", ".join(f"{name} {version}" for name, version in versions.items())
