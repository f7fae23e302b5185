"""Arrays come back from a file by their names, and other files are refused."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.data.array_file import ArrayReader, ArrayWriter


def test_arrays_come_back_in_any_order(tmp_path):
    with ArrayWriter(tmp_path / "a") as writer:
        writer.add("one", np.arange(6).reshape(2, 3))
        writer.add("text", np.array("words"))
        writer.add("none", np.zeros((0, 4), np.float32))
    with ArrayReader(tmp_path / "a") as reader:
        assert str(reader["text"]) == "words" and reader["none"].shape == (0, 4)
        assert np.array_equal(reader["one"], [[0, 1, 2], [3, 4, 5]])
        with pytest.raises(KeyError):
            reader["two"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100, b"\xff" * 8 + b"thgenarr"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises((OSError, ValueError, EOFError)), ArrayReader(tmp_path / "a"):
        pass


def test_an_error_while_writing_leaves_no_complete_file(tmp_path):
    with pytest.raises(RuntimeError), ArrayWriter(tmp_path / "a") as writer:
        writer.add("one", np.arange(3))
        raise RuntimeError
    with pytest.raises((OSError, ValueError)), ArrayReader(tmp_path / "a"):
        pass
