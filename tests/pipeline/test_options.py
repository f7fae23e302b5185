"""What ``generate`` can be told."""

from __future__ import annotations

import dataclasses

import pytest

from thcli.errors import UsageError
from thcli.pipeline.options import MAX_REFERENCES, GenerateOptions


def test_defaults_are_valid_and_frozen():
    options = GenerateOptions()
    assert (options.face_choice(), options.blink_seconds()) == ("largest", None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("face", "choice"),
    [
        ("largest", "largest"),
        ("0", 0),
        ("3", 3),
        ("10,20,30,40", (10.0, 20.0, 30.0, 40.0)),
        (" 1.5, -2 ,30,40", (1.5, -2.0, 30.0, 40.0)),
    ],
)
def test_faces(face, choice):
    assert GenerateOptions(face=face).face_choice() == choice


@pytest.mark.parametrize(
    "face",
    [
        "",
        "left",
        "-1",
        "1.5",
        "nan",
        "inf",
        "1,2",
        "1,2,3,4,5",
        "1,2,0,4",
        "1,2,3,-4",
        "1,,3,4",
        "nan,0,9,9",
        "0,0,9,inf",
    ],
)
def test_faces_that_are_none(face):
    with pytest.raises(UsageError, match=r"^--face .*: expected largest, an index from 0, or X,Y,W,H in pixels$"):
        GenerateOptions(face=face)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": "fp64"}, "--precision fp64: expected auto or fp32 or bf16 or fp16"),
        (
            {"precision": "bf16", "renderer": "warp"},
            "--precision bf16: is the network's, and the renderer is warp; give --renderer network, "
            "or leave out --precision",
        ),
        ({"batch_size": 0}, "--batch-size 0: expected frames from 1"),
    ],
)
def test_how_it_is_to_run(given, message):
    with pytest.raises(UsageError) as error:
        GenerateOptions(**given)
    assert str(error.value) == message


@pytest.mark.parametrize(("blink", "seconds"), [("reference", None), ("none", None), ("4", 4.0), ("0.5", 0.5)])
def test_blinks(blink, seconds):
    assert GenerateOptions(blink=blink).blink_seconds() == seconds


@pytest.mark.parametrize("blink", ["", "often", "0", "-3", "inf", "nan"])
def test_blinks_that_are_none(blink):
    with pytest.raises(UsageError, match=r"^--blink .*: expected reference, none, or seconds above 0$"):
        GenerateOptions(blink=blink)


@pytest.mark.parametrize("references", [1, 8, MAX_REFERENCES])
def test_numbers_of_references(references):
    assert GenerateOptions(references=references).references == references


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"references": 0}, "--references 0: expected 1 to 32"),
        ({"references": 33}, "--references 33: expected 1 to 32"),
        ({"silence": "loud"}, "--silence loud: expected close or ignore"),
        ({"renderer": "paint"}, "--renderer paint: expected network or warp"),
        ({"frame": "half"}, "--frame half: expected crop or full"),
        ({"start": -1.0}, "--start -1: expected seconds from 0"),
        ({"start": float("nan")}, "--start nan: expected seconds from 0"),
        ({"start": float("inf")}, "--start inf: expected seconds from 0"),
    ],
)
def test_what_nobody_knows_is_said_in_one_line(wrong, words):
    with pytest.raises(UsageError) as caught:
        GenerateOptions(**wrong)
    assert str(caught.value) == words
