"""What all tests share: where the real texts lie, when they do."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real texts beside the checkout; the test steps aside where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real texts (../shared/data) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def fable() -> Path:
    """The fable that comes with the package."""
    return Path(__file__).resolve().parents[1] / "src" / "fabula" / "data" / "belling_the_cat.txt"
