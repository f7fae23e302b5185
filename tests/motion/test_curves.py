"""Curves on disk: they come back to the last bit, and what is wrong with a file is said by file and row."""

import numpy as np
import pytest

from thcli.errors import MediaError
from thcli.motion.curves import COLUMNS, read_curves, write_curves
from thcli.records import MotionCurves


@pytest.fixture
def curves():
    random = np.random.default_rng(0)
    values = random.standard_normal((30, 26)).astype(np.float32)
    return MotionCurves(values[:, :6], values[:, 6:], random.random(30).astype(np.float32))


def test_read_curves_returns_what_was_written_to_the_last_bit(tmp_path, curves):
    write_curves(tmp_path / "c.csv", curves)
    back = read_curves(tmp_path / "c.csv")
    for name in ("pose", "expression", "blink"):
        np.testing.assert_array_equal(getattr(back, name), getattr(curves, name))
        assert getattr(back, name).dtype == np.float32


def test_write_curves_writes_a_header_and_times(tmp_path, curves):
    write_curves(tmp_path / "c.csv", curves)
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[0].startswith("frame,time,rx,ry,rz,tx,ty,tz,e00,e01,") and lines[0].endswith(",e19,blink")
    assert lines[4].startswith("3,0.12,")
    assert [p.name for p in tmp_path.iterdir()] == ["c.csv"]


def test_read_curves_takes_columns_in_any_order_and_a_byte_order_mark(tmp_path, curves):
    write_curves(tmp_path / "c.csv", curves)
    rows = [line.split(",") for line in (tmp_path / "c.csv").read_text().splitlines()]
    text = "\r\n".join(",".join(row[::-1]) for row in rows)
    (tmp_path / "d.csv").write_text("\ufeff" + text + "\r\n\r\n", encoding="utf-8")
    np.testing.assert_array_equal(read_curves(tmp_path / "d.csv").pose, curves.pose)


def edited(path, curves, edit):
    write_curves(path, curves)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    rows = edit(rows)
    path.write_text("\n".join(",".join(row) for row in rows))
    return path


def changed(row, column, value):
    def edit(rows):
        rows[row][COLUMNS.index(column)] = value
        return rows

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda _: [], "row 1 lacks the columns frame"),
        (lambda rows: rows[:1], "no rows"),
        (lambda rows: [row[:-1] for row in rows], "lacks the columns blink"),
        (lambda rows: [*rows[:5], *rows[6:]], "row 6 is frame 5, expected 4"),
        (lambda rows: [*rows[:5], rows[5][:10], *rows[6:]], "row 6 has 10 values, expected 29"),
        (changed(3, "e07", "nan"), "row 4: e07 is 'nan', expected a number"),
        (changed(3, "ry", "left"), "row 4: ry is 'left', expected a number"),
        (changed(3, "ry", "1e60"), "row 4: ry is '1e60', expected a number"),
        (changed(3, "ry", ""), "row 4: ry is '', expected a number"),
        (changed(3, "blink", "1.5"), "row 4: blink is 1.5, expected 0"),
        (changed(0, "time", "frame"), "lacks the columns time"),
    ],
)
def test_read_curves_names_file_and_row_and_what_was_expected(tmp_path, curves, edit, message):
    path = edited(tmp_path / "c.csv", curves, edit)
    with pytest.raises(MediaError, match=message) as error:
        read_curves(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_read_curves_refuses_what_is_no_csv_file(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        read_curves(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x80" * 10)
    with pytest.raises(MediaError, match="not a CSV file"):
        read_curves(tmp_path / "b.csv")
    with pytest.raises(MediaError, match="not a CSV file"):
        read_curves(tmp_path)


def test_write_curves_refuses_a_place_that_cannot_be_written_to(tmp_path, curves):
    with pytest.raises(MediaError, match="cannot write"):
        write_curves(tmp_path / "none" / "c.csv", curves)
