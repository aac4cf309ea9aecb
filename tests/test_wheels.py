"""Files inside pinned wheels: fetched once, checked by hash, refused in one sentence."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from toolkit import wheels
from toolkit.errors import ToolkitError
from toolkit.wheels import Wheel, extract, fetch

pytestmark = pytest.mark.process


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the package index; the cache is empty."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def published(index: Path) -> Wheel:
    path = index / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/data.txt", "forty-two")
        archive.writestr(
            "thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
        )
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return Wheel("thing", "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), 1)


def test_a_wheel_is_fetched_once_and_a_file_in_it_read(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = published(index)
    assert extract(wheel, "thing/data.txt", index).read_text() == "forty-two"
    monkeypatch.setattr(wheels, "_download", lambda *_: pytest.fail("fetched again"))
    assert fetch(wheel) == wheel.path


def test_a_damaged_file_in_the_cache_is_fetched_again(index: Path) -> None:
    wheel = published(index)
    whole = fetch(wheel).read_bytes()
    wheel.path.write_bytes(whole[:50])
    assert fetch(wheel).read_bytes() == whole


def test_another_file_than_the_pinned_one_is_refused_and_leaves_nothing(index: Path) -> None:
    wheel = Wheel("thing", "1.0", "0" * 64, published(index).megabytes)
    with pytest.raises(ToolkitError, match="another file for thing"):
        fetch(wheel)
    assert not list(wheel.path.parent.glob("*.whl"))


def test_an_index_without_it_is_one_sentence(index: Path) -> None:
    with pytest.raises(ToolkitError, match=r"cannot fetch other 2.0 \(9 MB\)") as caught:
        fetch(Wheel("other", "2.0", "0" * 64, 9))
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_one_sentence(index: Path) -> None:
    wheel = published(index)
    Path(index, "cache").mkdir()
    Path(index, "cache", "wheels").write_text("a file in the way")
    with pytest.raises(ToolkitError, match="cannot keep thing"):
        fetch(wheel)
