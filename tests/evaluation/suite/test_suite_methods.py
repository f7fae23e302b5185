"""Every row shows what it says; an ablation lacks what it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from thcli.checkpoints import sha256
from thcli.data.store import Store
from thcli.errors import WeightsError
from thcli.evaluation.suite.ablation import ABLATED, FlatWarper, InPlace, laid_on, one_reference, one_reference_hard
from thcli.evaluation.suite.case import load_case
from thcli.evaluation.suite.clips import choose_clips
from thcli.evaluation.suite.methods import GEOMETRIC, TRIVIAL, choose_methods
from thcli.evaluation.suite.options import ABLATIONS, SuiteOptions
from thcli.pipeline.models import load_models
from thcli.pipeline.target import DrivenTarget, TrackedTarget
from thcli.render.compose import Patch, compose
from thcli.render.frames import TargetRenderer
from thcli.render.head_weights import prior_head_weights
from thcli.render.layers import References
from thcli.render.matcher import costs
from thcli.rotations import to_matrix

FRAMES = 25


@pytest.fixture(scope="module")
def cases(store):
    """cases(clip, drive): the case of the first second of a clip of the store."""

    def load(clip, drive="landmarks"):
        options = SuiteOptions(drive, clips=(clip,), seconds=1.0, device="cpu")
        return load_case(Store(store), *choose_clips(Store(store), options).clips[0], options)

    return load


@pytest.fixture(scope="module")
def drawn(cases):
    """drawn(row, K): frames of a row for the nodding clip, driven by landmarks, without Θ; each is drawn once."""
    known = {}
    rows = methods(ablate=("all",))
    case = cases("nodding")

    def render(name, references=3):
        if (name, references) not in known:
            known[name, references] = rows[name].render(case, references)
        return known[name, references]

    return render


def methods(drive="landmarks", renderer="warp", **options):
    options = SuiteOptions(drive, renderer=renderer, device="cpu", **options)
    return {method.name: method for method in choose_methods(options)}


def difference(first, second):
    return np.abs(first.astype(int) - second.astype(int))


def test_choose_methods_puts_real_trivial_and_geometric_rows_into_every_table(theta_weights):
    names = ["real", "first frame", "nearest frame", "shuffled audio", "frontal texture", "warp", "geometric", "thgen"]
    assert list(methods("audio")) == names
    assert list(methods("audio", "network", weights=theta_weights)) == names
    assert list(methods("audio", ablate=("warping",))) == [*names, "w/o warping"]


def test_trivial_rows_show_the_real_the_first_and_the_nearest_frame(cases, drawn):
    case = cases("nodding")
    np.testing.assert_array_equal(drawn("real"), case.real.frames)
    assert all((frame == case.past.frames[0]).all() for frame in drawn("first frame"))
    # The motion repeats itself, so some past frame shows the very same pose and mouth.
    chosen = [next(t for t in range(64) if (case.past.frames[t] == frame).all()) for frame in drawn("nearest frame")]
    wanted, found = case.track.pose, case.past_track.pose[chosen]
    assert np.abs(wanted - found).max() < 1e-3
    assert len(set(chosen)) > 5


def test_geometric_row_leaves_a_still_clip_as_it_is(cases):
    case = cases("still")
    made = methods()["geometric"].render(case, 2)
    held = np.broadcast_to(case.past.frames[case.person(2).reference_indices[0]], made.shape)
    assert difference(made, held).mean() < 0.5
    # What remains is what the encoder of the store's crops does to a still image.
    assert difference(made, case.real.frames).mean() < difference(held, case.real.frames).mean() + 0.5 < 2.5


def test_thgen_row_without_theta_equals_the_geometric_row(cases, drawn):
    case = cases("nodding")
    frames = np.stack(list(TargetRenderer(case.models, case.person(3), TrackedTarget(case.track)).frames()))
    assert frames.tobytes() == drawn("thgen").tobytes() == drawn("geometric").tobytes()
    assert drawn("warp").tobytes() != drawn("geometric").tobytes()


def test_thgen_row_equals_what_generate_draws(cases, drawn, theta_weights):
    case, rows = cases("nodding"), methods(renderer="network", weights=theta_weights)
    made = rows["thgen"].render(case, 3)
    theta = load_models(theta_weights, "cpu").theta
    frames = TargetRenderer(case.models, case.person(3), TrackedTarget(case.track), theta=theta).frames()
    assert made.tobytes() == np.stack(list(frames)).tobytes()
    assert difference(made, drawn("geometric")).mean() > 1
    wrong, without = (one["shuffled audio"].render(case, 3) for one in (rows, methods()))
    assert difference(wrong, without).mean() > 1  # Θ draws this row, too.


def test_choose_methods_gives_rows_that_theta_draws_its_hash(theta_weights, tmp_path):
    path = theta_weights / "generator.safetensors"
    rows = methods(renderer="network", weights=theta_weights)
    known = {name: dict(method.weights) for name, method in rows.items() if method.weights}
    assert known == {name: {path.name: sha256(path)} for name in ("shuffled audio", "thgen")}
    assert not any(method.weights for method in methods(weights=theta_weights).values())
    (tmp_path / path.name).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"generator.safetensors: not a thgen checkpoint"):
        methods(renderer="network", weights=tmp_path)


def test_rows_driven_by_audio_do_not_depend_on_the_real_frames(cases):
    case = cases("nodding", "audio")
    garbled = replace(
        case,
        track=case.track.select(np.arange(FRAMES)[::-1]),
        real=replace(case.real, frames=case.real.frames * 0, track=None),
    )
    for method in (TRIVIAL[2], GEOMETRIC[1]):
        assert method.render(case, 2).tobytes() == method.render(garbled, 2).tobytes()


@pytest.mark.parametrize("drive", ["audio", "landmarks"])
def test_shuffled_target_moves_the_mouth_otherwise_than_the_clip_s_own_sound(cases, drive):
    case = cases("nodding", drive)
    person = case.person(1)
    own, wrong = case.target(person), case.shuffled_target(person)
    assert isinstance(wrong, DrivenTarget) and len(wrong.pose) == FRAMES
    assert np.abs(own.unposed_meshes(slice(FRAMES)) - wrong.unposed_meshes(slice(FRAMES))).max() > 0.01
    if drive == "landmarks":
        np.testing.assert_array_equal(wrong.pose, case.track.pose)
    else:
        same = replace(case, other=case.real.speech)
        np.testing.assert_array_equal(same.shuffled_target(person).curves.expression, own.curves.expression)


def test_shuffled_target_needs_no_fitting_sound_of_the_clip_itself(cases):
    case = cases("unknown")
    wrong = case.shuffled_target(case.person(1))
    assert np.isfinite(wrong.meshes(slice(FRAMES))).all() and len(wrong.pose) == FRAMES


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_differs_from_the_geometric_row(drawn, name):
    assert difference(drawn(ABLATED[name].title), drawn("geometric")).max() > 5


def test_baseline_row_shows_the_references_themselves(cases, drawn):
    references = cases("nodding").person(3).reference_images
    for frame in drawn("Baseline"):
        assert min(difference(frame, one).max() for one in references) <= 1


def test_row_without_warping_changes_only_mouth_and_eyes_of_a_reference(cases, drawn):
    references = cases("nodding").person(3).reference_images
    shares = [min((difference(frame, one).max(-1) > 2).mean() for one in references) for frame in drawn("w/o warping")]
    assert max(shares) < 0.25
    assert difference(drawn("w/o warping"), drawn("Baseline")).max() > 10
    moving = [min((difference(frame, one).max(-1) > 2).mean() for one in references) for frame in drawn("geometric")]
    assert max(moving) > 0.4


def test_in_place_puts_the_target_where_the_reference_s_head_is(cases):
    person = cases("nodding").person(3)
    own = person.track.select(person.reference_indices)
    away = np.float32([20, 5, 0])
    moved = own.pose.copy()
    moved[:, 3:] -= to_matrix(own.pose[:, :3]) @ (away * np.float32(own.scale))
    elsewhere = TrackedTarget(replace(own, mesh=own.mesh + away, pose=moved))
    target = InPlace(person, elsewhere, np.arange(3))
    np.testing.assert_array_equal(target.pose, own.pose)
    np.testing.assert_allclose(target.meshes(slice(1, 3)), own.mesh[1:], atol=0.01)


def test_row_without_attention_equals_the_geometric_row_for_one_reference(drawn):
    assert drawn("w/o Hybrid-Attention", 1).tobytes() == drawn("geometric", 1).tobytes()


def test_row_without_composition_differs_only_in_mouth_and_eyes(cases, drawn):
    changed = difference(drawn("w/o Non-Linear Comp."), drawn("geometric")).max(-1) > 0
    assert 0 < changed.mean() < 0.3
    rows, columns = np.where(changed.any(0))
    face = cases("nodding").track.box
    assert face[:, 1].min() < rows.min() and rows.max() < face[:, 3].max() + 10
    assert face[:, 0].min() < columns.min() and columns.max() < face[:, 2].max()


def test_laid_on_keeps_a_hard_edge_and_the_part_s_own_light():
    base, image = torch.zeros(1, 3, 64, 64), torch.full((1, 3, 32, 32), 0.1)
    mask = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    hard, soft = (put(base, [Patch(image, mask, 16, 16)]) for put in (laid_on, compose))
    assert set(hard.unique().tolist()) == {0.0, image[0, 0, 0, 0].item()}
    assert (hard[0, 0, 16:48, 16:48] > 0).float().mean() == 0.5
    assert soft.max() < 0.05  # ``compose`` fits the part's light to the image's.
    assert base.max() == 0


def test_flat_warper_finds_a_head_that_is_turned_in_the_picture_and_enlarged(cases):
    case = cases("nodding")
    person, models = case.person(2), case.models
    images = torch.from_numpy(person.reference_images).permute(0, 3, 1, 2).float() / 255
    meshes = torch.from_numpy(person.track.mesh[person.reference_indices])
    flat = FlatWarper(References(images), meshes, models.face_model, prior_head_weights(), "cpu", models.mouth_interior)
    turn, size = 0.3, 1.2
    matrix = size * torch.tensor([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], dtype=torch.float32)
    target, first = meshes[:1].clone(), torch.tensor([[0]])
    target[..., :2] = target[..., :2] @ matrix.T + torch.tensor([7.0, -4.0])
    assert (flat.sources(target, first) - meshes[0])[..., :2].abs().max() < 0.01
    # A mouth that opens is no similarity, so it is not found.
    target[:, 13:15, 1] += 20
    assert (flat.sources(target, first) - meshes[0])[..., :2].abs().max() > 5


def test_one_reference_gives_mouth_and_eyes_the_reference_of_the_whole_image(cases):
    case = cases("nodding")
    person = case.person(3)
    known = costs(person, TrackedTarget(case.track))
    weights, same = known.match(), one_reference(known)
    assert same.base.tobytes() == weights.base.tobytes() and same.mouth is same.base and same.eyes is same.base
    assert weights.mouth.tobytes() != weights.base.tobytes()
    assert set(np.unique(one_reference_hard(known).base)) == {0.0, 1.0}
