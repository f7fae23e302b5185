"""Options of ``generate``: what each accepts, and the message for anything else."""

from __future__ import annotations

import dataclasses
import math

import pytest

from thcli.errors import UsageError
from thcli.pipeline.option_checks import MAX_REFERENCES
from thcli.pipeline.options import GenerateOptions, MotionOptions, ReferenceOptions


def test_generate_options_are_divided_between_reference_and_motion():
    options = GenerateOptions(start=1.5, face="2", references=3, size="512", adapt=4, motion="still", blink="2", seed=9)
    assert options.reference_options == ReferenceOptions(start=1.5, face="2", references=3, size="512")
    assert options.motion_options == MotionOptions(motion="still", blink="2", seed=9)


def test_generate_options_are_valid_by_default_and_frozen():
    options = GenerateOptions()
    assert options.reference_options == ReferenceOptions() and options.motion_options == MotionOptions()
    assert (ReferenceOptions().face_choice(), MotionOptions().blink_seconds()) == ("largest", None)
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
def test_face_choice_reads_largest_an_index_or_a_box(face, choice):
    assert GenerateOptions(face=face).reference_options.face_choice() == choice


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
def test_generate_options_refuses_other_values_of_face(face):
    with pytest.raises(UsageError, match=r"^--face .*: expected largest, an index from 0, or X,Y,W,H in pixels$"):
        GenerateOptions(face=face)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": "fp64"}, "--precision fp64: expected auto or fp32 or bf16 or fp16"),
        (
            {"precision": "bf16", "renderer": "warp"},
            "--precision bf16 applies to --renderer network only, and the renderer is warp; leave out --precision",
        ),
        ({"batch_size": 0}, "--batch-size 0: expected frames from 1"),
        (
            {"retarget": "exact", "motion": "nod.csv"},
            "--retarget exact applies to a video given to --motion or --expression only; give one, or leave it out",
        ),
        ({"adapt": -1}, "--adapt -1: expected steps from 0"),
        (
            {"adapt": 60, "renderer": "warp"},
            "--adapt 60 applies to --renderer network only, and the renderer is warp; leave out --adapt",
        ),
    ],
)
def test_generate_options_refuses_what_cannot_run(given, message):
    with pytest.raises(UsageError) as error:
        GenerateOptions(**given)
    assert str(error.value) == message


@pytest.mark.parametrize(("blink", "seconds"), [("reference", None), ("none", None), ("4", 4.0), ("0.5", 0.5)])
def test_blink_seconds_reads_seconds_where_they_are_given(blink, seconds):
    assert GenerateOptions(blink=blink).motion_options.blink_seconds() == seconds


@pytest.mark.parametrize("blink", ["", "often", "0", "-3", "inf", "nan"])
def test_generate_options_refuses_other_values_of_blink(blink):
    with pytest.raises(UsageError, match=r"^--blink .*: expected reference, none, or seconds above 0$"):
        GenerateOptions(blink=blink)


@pytest.mark.parametrize(("given", "seconds"), [("whole", math.inf), ("60", 60.0), ("0", 0.0), ("2.5", 2.5)])
def test_learn_seconds_reads_seconds_or_whole(given, seconds):
    assert GenerateOptions(learn_from=given).reference_options.learn_seconds() == seconds


@pytest.mark.parametrize("given", ["", "all", "-1", "inf", "nan"])
def test_generate_options_refuses_other_values_of_learn_from(given):
    with pytest.raises(UsageError) as error:
        GenerateOptions(learn_from=given)
    assert str(error.value) == f"--learn-from {given}: expected whole, or seconds from 0"


@pytest.mark.parametrize("option", ["motion_scale", "expression_scale"])
@pytest.mark.parametrize("scale", [-0.1, 3.1, float("nan"), float("inf")])
def test_motion_options_refuses_scales_out_of_range(option, scale):
    with pytest.raises(UsageError) as error:
        MotionOptions(**{option: scale})
    assert str(error.value) == f"--{option.replace('_', '-')} {scale:g}: expected 0 to 3"


@pytest.mark.parametrize("references", [1, 8, MAX_REFERENCES])
def test_generate_options_accepts_references_from_one_to_the_most(references):
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
def test_generate_options_refuses_values_out_of_range_in_one_line(wrong, words):
    with pytest.raises(UsageError) as caught:
        GenerateOptions(**wrong)
    assert str(caught.value) == words
