"""Every row shows what it says; an ablation lacks what it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from thcli.checkpoints import sha256
from thcli.data.store import Store
from thcli.errors import WeightsError
from thcli.evaluation.suite.ablation import ABLATED, FlatRenderer, InPlace, laid_on, one_reference, one_reference_hard
from thcli.evaluation.suite.case import load_case
from thcli.evaluation.suite.clips import choose_clips
from thcli.evaluation.suite.methods import GEOMETRIC, TRIVIAL, choose_methods
from thcli.evaluation.suite.options import ABLATIONS, SuiteOptions
from thcli.pipeline.target import Driven, Tracked
from thcli.render.compose import Part, compose
from thcli.render.frames import draw_frames
from thcli.render.generator import load_generator
from thcli.render.head_weights import prior_attachment
from thcli.render.matching import costs
from thcli.rotations import to_matrix

FRAMES = 25


@pytest.fixture(scope="module")
def cases(store):
    """cases(clip, drive): a second of it."""

    def load(clip, drive="landmarks"):
        options = SuiteOptions(drive, clips=(clip,), seconds=1.0, device="cpu")
        return load_case(Store(store), *choose_clips(Store(store), options).clips[0], options)

    return load


@pytest.fixture(scope="module")
def drawn(cases):
    """drawn(row, K): its frames of the nodding clip, driven by landmarks, without Θ; each is drawn once."""
    known = {}
    rows = methods(ablate=("all",))
    case = cases("nodding")

    def draw(name, references=3):
        if (name, references) not in known:
            known[name, references] = rows[name].draw(case, references)
        return known[name, references]

    return draw


def methods(drive="landmarks", renderer="warp", **options):
    options = SuiteOptions(drive, renderer=renderer, device="cpu", **options)
    return {method.name: method for method in choose_methods(options)}


def difference(first, second):
    return np.abs(first.astype(int) - second.astype(int))


def test_the_real_row_and_the_trivial_ones_stand_in_every_table(theta_weights):
    names = ["real", "first frame", "nearest frame", "shuffled audio", "warp", "geometric", "thgen"]
    assert list(methods("audio")) == names
    assert list(methods("audio", "network", weights=theta_weights)) == names
    assert list(methods("audio", ablate=("warping",))) == [*names, "w/o warping"]


def test_real_first_and_nearest(cases, drawn):
    case = cases("nodding")
    np.testing.assert_array_equal(drawn("real"), case.real.frames)
    assert all((frame == case.past.frames[0]).all() for frame in drawn("first frame"))
    # the motion repeats itself, so some past frame shows the very same pose and mouth
    chosen = [next(t for t in range(64) if (case.past.frames[t] == frame).all()) for frame in drawn("nearest frame")]
    wanted, found = case.track.pose, case.past_track.pose[chosen]
    assert np.abs(wanted - found).max() < 1e-3
    assert len(set(chosen)) > 5


def test_a_still_clip_driven_by_its_own_landmarks_is_itself(cases):
    case = cases("still")
    made = methods()["geometric"].draw(case, 2)
    held = np.broadcast_to(case.past.frames[case.person(2).chosen[0]], made.shape)
    assert difference(made, held).mean() < 0.5
    # the rest is what the encoder of the store's crops does to a still picture
    assert difference(made, case.real.frames).mean() < difference(held, case.real.frames).mean() + 0.5 < 2.5


def test_without_theta_thgen_is_the_geometric_picture(cases, drawn):
    case = cases("nodding")
    frames = np.stack(list(draw_frames(case.person(3), Tracked(case.track), "cpu", False)))
    assert frames.tobytes() == drawn("thgen").tobytes() == drawn("geometric").tobytes()
    assert drawn("warp").tobytes() != drawn("geometric").tobytes()


def test_thgen_is_what_generate_draws(cases, drawn, theta_weights):
    case, rows = cases("nodding"), methods(renderer="network", weights=theta_weights)
    made = rows["thgen"].draw(case, 3)
    frames = draw_frames(case.person(3), Tracked(case.track), "cpu", False, theta=load_generator(theta_weights))
    assert made.tobytes() == np.stack(list(frames)).tobytes()
    assert difference(made, drawn("geometric")).mean() > 1
    wrong, without = (one["shuffled audio"].draw(case, 3) for one in (rows, methods()))
    assert difference(wrong, without).mean() > 1  # drawn by Θ as well


def test_rows_that_theta_draws_know_its_weights(theta_weights, tmp_path):
    path = theta_weights / "generator.safetensors"
    rows = methods(renderer="network", weights=theta_weights)
    known = {name: dict(method.weights) for name, method in rows.items() if method.weights}
    assert known == {name: {path.name: sha256(path)} for name in ("shuffled audio", "thgen")}
    assert not any(method.weights for method in methods(weights=theta_weights).values())
    (tmp_path / path.name).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"generator.safetensors: not a thgen checkpoint"):
        methods(renderer="network", weights=tmp_path)


def test_what_drives_the_sound_s_rows_is_not_the_truth(cases):
    case = cases("nodding", "audio")
    garbled = replace(
        case,
        track=case.track.select(np.arange(FRAMES)[::-1]),
        real=replace(case.real, frames=case.real.frames * 0, track=None),
    )
    for method in (TRIVIAL[2], GEOMETRIC[1]):
        assert method.draw(case, 2).tobytes() == method.draw(garbled, 2).tobytes()


@pytest.mark.parametrize("drive", ["audio", "landmarks"])
def test_another_clip_s_sound_moves_the_mouth_otherwise(cases, drive):
    case = cases("nodding", drive)
    person = case.person(1)
    own, wrong = case.target(person), case.shuffled_target(person)
    assert isinstance(wrong, Driven) and len(wrong.pose) == FRAMES
    assert np.abs(own.faces(slice(FRAMES)) - wrong.faces(slice(FRAMES))).max() > 0.01
    if drive == "landmarks":
        np.testing.assert_array_equal(wrong.pose, case.track.pose)
    else:
        quiet = replace(case, other=case.real.speech)
        np.testing.assert_array_equal(quiet.shuffled_target(person).drive.expression, own.drive.expression)


def test_a_clip_whose_own_sound_may_not_fit_can_be_given_another_s(cases):
    case = cases("unknown")
    wrong = case.shuffled_target(case.person(1))
    assert np.isfinite(wrong.meshes(slice(FRAMES))).all() and len(wrong.pose) == FRAMES


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_differs_from_the_whole(drawn, name):
    assert difference(drawn(ABLATED[name].title), drawn("geometric")).max() > 5


def test_the_baseline_is_made_of_the_references_themselves(cases, drawn):
    references = cases("nodding").person(3).crops
    for frame in drawn("Baseline"):
        assert min(difference(frame, one).max() for one in references) <= 1


def test_without_warping_only_mouth_and_eyes_are_drawn(cases, drawn):
    references = cases("nodding").person(3).crops
    shares = [min((difference(frame, one).max(-1) > 2).mean() for one in references) for frame in drawn("w/o warping")]
    assert max(shares) < 0.25
    assert difference(drawn("w/o warping"), drawn("Baseline")).max() > 10
    moving = [min((difference(frame, one).max(-1) > 2).mean() for one in references) for frame in drawn("geometric")]
    assert max(moving) > 0.4


def test_in_place_is_where_the_reference_s_head_is(cases):
    person = cases("nodding").person(3)
    own = person.track.select(person.chosen)
    away = np.float32([20, 5, 0])
    moved = own.pose.copy()
    moved[:, 3:] -= to_matrix(own.pose[:, :3]) @ (away * np.float32(own.scale))
    elsewhere = Tracked(replace(own, mesh=own.mesh + away, pose=moved))
    target = InPlace(person, elsewhere, np.arange(3))
    np.testing.assert_array_equal(target.pose, own.pose)
    np.testing.assert_allclose(target.meshes(slice(1, 3)), own.mesh[1:], atol=0.01)


def test_one_reference_needs_no_attention(drawn):
    assert drawn("w/o Hybrid-Attention", 1).tobytes() == drawn("geometric", 1).tobytes()


def test_without_composition_only_the_parts_differ(cases, drawn):
    changed = difference(drawn("w/o Non-Linear Comp."), drawn("geometric")).max(-1) > 0
    assert 0 < changed.mean() < 0.3
    rows, columns = np.where(changed.any(0))
    face = cases("nodding").track.box
    assert face[:, 1].min() < rows.min() and rows.max() < face[:, 3].max() + 10
    assert face[:, 0].min() < columns.min() and columns.max() < face[:, 2].max()


def test_parts_are_laid_on_with_a_hard_edge_and_their_own_light():
    base, image = torch.zeros(1, 3, 64, 64), torch.full((1, 3, 32, 32), 0.1)
    mask = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    hard, soft = (put(base, [Part(image, mask, 16, 16)]) for put in (laid_on, compose))
    assert set(hard.unique().tolist()) == {0.0, image[0, 0, 0, 0].item()}
    assert (hard[0, 0, 16:48, 16:48] > 0).float().mean() == 0.5
    assert soft.max() < 0.05  # its light is the picture's
    assert base.max() == 0


def test_without_3d_a_turned_and_enlarged_head_is_found_where_it_is(cases):
    person = cases("nodding").person(2)
    images = torch.from_numpy(person.crops).permute(0, 3, 1, 2).float() / 255
    meshes = torch.from_numpy(person.track.mesh[person.chosen])
    flat = FlatRenderer(images, meshes, person.model, prior_attachment(), "cpu", person.interior)
    turn, size = 0.3, 1.2
    matrix = size * torch.tensor([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], dtype=torch.float32)
    target = meshes[:1].clone()
    target[..., :2] = target[..., :2] @ matrix.T + torch.tensor([7.0, -4.0])
    assert (flat.source(target, 0) - meshes[0])[..., :2].abs().max() < 0.01
    # an open mouth is no similarity: it stays unknown
    target[:, 13:15, 1] += 20
    assert (flat.source(target, 0) - meshes[0])[..., :2].abs().max() > 5


def test_the_weights_of_ablations(cases):
    case = cases("nodding")
    person = case.person(3)
    shares = costs(person, Tracked(case.track)).match()
    same = one_reference(costs(person, Tracked(case.track)))
    assert same.base.tobytes() == shares.base.tobytes() and same.mouth is same.base and same.eyes is same.base
    assert shares.mouth.tobytes() != shares.base.tobytes()
    assert set(np.unique(one_reference_hard(costs(person, Tracked(case.track))).base)) == {0.0, 1.0}
