"""Metrics of images: SSIM, PSNR, difference and sharpness of the mouth, and warping error."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, convolve, gaussian_filter
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio

from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics import ghosting, mouth_l1, psnr, sharpness, ssim, warping_error
from thcli.evaluation.regions import hair_rings, mouth_squares
from thcli.face_model import FACE_OVAL, OUTER_LIPS

NO_MODELS = MetricModels()
RANDOM = np.random.default_rng(0)


def noisy(recording, sigma):
    noise = RANDOM.normal(0, sigma, recording.frames.shape)
    return replace(recording, frames=(recording.frames + noise).clip(0, 255).astype(np.uint8))


def blurred(recording, sigma):
    return replace(
        recording, frames=np.stack([gaussian_filter(frame, (sigma, sigma, 0)) for frame in recording.frames])
    )


def value(module, pair):
    figure = module.measure(pair, NO_MODELS)
    assert figure.model == ""
    return figure.value


def test_image_metrics_of_equal_videos_are_ideal(pair, recording):
    same = pair(recording(6))
    assert value(ssim, same) == pytest.approx(1)
    assert value(psnr, same) == psnr.CEILING
    assert value(mouth_l1, same) == 0
    assert value(sharpness.MOUTH, same) == pytest.approx(1)
    for module in (ssim, psnr, mouth_l1, sharpness.MOUTH):
        assert module.measure(same, NO_MODELS).count == 6


def test_ssim_equals_the_formula_of_wang_et_al(recording):
    # This is eq. 13 of Wang et al. 2004, with an 11x11 Gaussian, where the window lies in the image.
    true = recording(1).frames[0, :64, 60:140]
    made = (true + RANDOM.normal(0, 12, true.shape)).clip(0, 255).astype(np.uint8)
    steps = np.arange(-5, 6)
    window = np.exp(-0.5 * (steps / 1.5) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    maps = []
    for channel in range(3):
        x, y = made[..., channel].astype(float), true[..., channel].astype(float)
        mx, my, xx, yy, xy = (convolve(part, window)[5:-5, 5:-5] for part in (x, y, x * x, y * y, x * y))
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        top = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
        maps.append(top / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2)))
    assert ssim.ssim(made, true) == pytest.approx(np.mean(maps), abs=1e-9)


def test_ssim_leaves_out_five_pixels_of_border(recording):
    true = recording(1).frames[0]
    made = true.copy()
    made[0, 0] = 255 - made[0, 0]
    # The corner's window reaches five pixels, none of which is counted.
    assert ssim.ssim(made, true) == pytest.approx(1)
    made[5:8, 5:8] = 255 - made[5:8, 5:8]
    assert ssim.ssim(made, true) < 1


def test_ssim_and_psnr_average_over_frames(pair, recording):
    true = recording(4)
    frames = true.frames.copy()
    frames[1] = noisy(true, 9).frames[1]
    one = pair(replace(true, frames=frames), true)
    assert value(ssim, one) == pytest.approx((3 + ssim.ssim(frames[1], true.frames[1])) / 4)
    expected = (300 + peak_signal_noise_ratio(true.frames[1], frames[1], data_range=255)) / 4
    assert value(psnr, one) == pytest.approx(expected)


def test_psnr_of_a_constant_error_is_exact(recording):
    true = recording(1).frames[0].clip(10, 240)
    assert psnr.psnr(true + np.uint8(5), true) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr.psnr(true - np.uint8(5), true) == pytest.approx(20 * np.log10(255 / 5))


def test_mouth_squares_are_centred_on_the_lips(recording):
    track = recording(8).track
    for (rows, columns), mesh in zip(mouth_squares(track), track.mesh, strict=True):
        lips = mesh[list(OUTER_LIPS), :2]
        side = 1.4 * np.ptp(lips, axis=0).max()
        assert rows.stop - rows.start == pytest.approx(side, abs=1)
        assert columns.stop - columns.start == pytest.approx(side, abs=1)
        middle = (lips.min(0) + lips.max(0)) / 2
        assert [(columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2] == pytest.approx(middle, abs=1)


def test_mouth_l1_depends_on_the_mouth_alone(pair, recording):
    true = recording(5)
    inside, outside = true.frames.copy(), (true.frames ^ 255)
    for t, square in enumerate(mouth_squares(true.track)):
        inside[t][square] = np.where(inside[t][square] < 128, inside[t][square] + 7, inside[t][square] - 7)
        outside[t][square] = true.frames[t][square]
    assert value(mouth_l1, pair(replace(true, frames=inside), true)) == pytest.approx(7)
    assert value(mouth_l1, pair(replace(true, frames=outside), true)) == 0


def test_mouth_l1_compares_where_the_reference_has_its_mouth(pair, recording):
    true = recording(5)
    faceless = replace(noisy(true, 5), track=None)
    assert value(mouth_l1, pair(faceless, true)) > 2


def test_mouth_metrics_leave_out_frames_without_a_face(pair, recording):
    true = recording(6)
    confidence = np.array([1, 1, 0, 1, 0, 1], np.float32)
    spoilt = true.frames.copy()
    spoilt[[2, 4]] = 0
    gaps = replace(true, track=replace(true.track, confidence=confidence))
    one = pair(replace(true, frames=spoilt), gaps)
    for module, ideal in ((mouth_l1, 0), (sharpness.MOUTH, 1)):
        figure = module.measure(one, NO_MODELS)
        assert (figure.value, figure.count) == (pytest.approx(ideal), 4)


def test_mouth_sharpness_falls_with_blur_and_rises_with_noise(pair, recording):
    true = recording(6)
    softer = [value(sharpness.MOUTH, pair(blurred(true, sigma), true)) for sigma in (0.6, 1, 2)]
    assert 1 > softer[0] > softer[1] > softer[2] > 0
    assert softer[2] < 0.1
    assert value(sharpness.MOUTH, pair(noisy(true, 8), true)) > 1.2


def test_hair_sharpness_is_that_of_the_ring_around_the_face(pair, recording):
    true = recording(6)
    rings = np.stack(hair_rings(true.track))
    for ring, mesh in zip(rings, true.track.mesh, strict=True):
        assert not ring[int(mesh[list(FACE_OVAL), 1].max()) + 1 :].any()
    near = np.stack([binary_dilation(ring, iterations=2) for ring in rings])
    elsewhere = replace(true, frames=np.where(near[..., None], true.frames, blurred(true, 2).frames))
    assert value(sharpness.HAIR, pair(elsewhere, true)) == pytest.approx(1)
    softer = [value(sharpness.HAIR, pair(blurred(true, sigma), true)) for sigma in (0.6, 1, 2)]
    assert 1 > softer[0] > softer[1] > softer[2] > 0


def test_ghosting_is_what_frames_lose_that_show_two_pictures(pair, recording):
    true = recording(30)
    doubled = true.frames.astype(np.float32)
    doubled[10:13] = (doubled[10:13] + np.roll(doubled[10:13], 7, axis=2)) / 2
    ghost = replace(true, frames=doubled.astype(np.uint8))
    usual, seen = (value(ghosting, pair(one, true)) for one in (true, ghost))
    assert usual < 0.01 and 0.03 < seen - usual < 0.07  # 30 to 70 % in a tenth of the frames
    assert value(ghosting, pair(blurred(true, 1.5), true)) < 0.01


def test_ghosting_of_a_video_without_a_face_is_not_computed(pair, recording):
    true = recording(2)
    assert ghosting.measure(pair(replace(true, track=None), true), NO_MODELS).value is None


def test_laplacian_has_five_points(recording):
    picture = recording(1).frames[0, 80:140, 90:150]
    luma = picture @ np.array([0.2125, 0.7154, 0.0721])
    laplacian = convolve(luma, np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], float))[1:-1, 1:-1]
    np.testing.assert_allclose(sharpness.laplacian(picture)[1:-1, 1:-1], laplacian, atol=1e-9)


def test_mouth_sharpness_follows_each_video_s_own_mouth(pair, recording):
    # The same person, moved by whole pixels, is exactly as sharp.
    still = np.zeros((3, 6), np.float32)
    moved = still + np.array([0, 0, 0, -10 / 59, 6 / 59, 0], np.float32)
    expression = np.zeros((3, 20), np.float32)
    here, there = (recording(3, pose=pose, expression=expression) for pose in (still, moved))
    np.testing.assert_array_equal(there.frames[0, 40:200, 50:200], here.frames[0, 46:206, 40:190])
    assert value(sharpness.MOUTH, pair(there, here)) == pytest.approx(1, abs=0.03)


def test_mouth_metrics_are_not_computed_without_a_face(pair, recording):
    true = recording(3)
    faceless = replace(true, name="bars.mp4", track=None)
    for module, one in (
        (mouth_l1, pair(true, faceless)),
        (sharpness.MOUTH, pair(true, faceless)),
        (sharpness.MOUTH, pair(faceless, true)),
    ):
        figure = module.measure(one, NO_MODELS)
        assert figure.value is None
        assert figure.why == "no face found in bars.mp4"


def test_mouth_metrics_are_not_computed_for_a_mouth_outside_the_image(pair, recording):
    true = recording(3)
    away = replace(true, track=replace(true.track, mesh=true.track.mesh + np.float32(400)))
    for module in (mouth_l1, sharpness.MOUTH, sharpness.HAIR):
        assert module.measure(pair(away, away), NO_MODELS).value is None


def gliding(recording, frames, rows, columns):
    """A video of a photograph that moves by whole pixels a frame."""
    start = recording(1).frames[0]
    moved = [np.roll(start, (t * rows, t * columns), (0, 1)) for t in range(frames)]
    return replace(recording(frames), frames=np.stack(moved))


def test_warping_error_of_what_only_moves_is_next_to_none(pair, recording):
    moving = gliding(recording, 2, 2, -2)
    unwarped = float(((moving.frames[0].astype(float) - moving.frames[1]) ** 2).mean())
    assert value(warping_error, pair(moving)) < 0.02 * unwarped


def test_warping_error_of_a_held_frame_is_zero(pair, recording):
    true = recording(11)
    held = true.select(np.zeros(11, np.intp))
    figure = warping_error.measure(pair(held, true), NO_MODELS)
    assert (figure.value, figure.count) == (0, 2)


def test_warping_error_of_flicker_is_the_square_of_its_step(pair, recording):
    true = recording(12)
    held = true.frames[np.zeros(12, int)].clip(10, 240)
    held[1::2] += 6
    assert value(warping_error, pair(replace(true, frames=held))) == pytest.approx(36, rel=0.1)


def test_warping_error_of_noise_adds_to_that_of_smooth_movement(pair, recording):
    moving = gliding(recording, 6, 1, 2)
    smooth = value(warping_error, pair(moving))
    boiled = [value(warping_error, pair(noisy(moving, sigma))) for sigma in (3, 6)]
    # The noise of both frames adds up; interpolation reduces that of the warped one.
    assert smooth + 9 < boiled[0] < smooth + 2.2 * 9
    assert smooth + 36 < boiled[1] < smooth + 2.2 * 36


def view(left):
    """A square of a photograph that is ``left`` pixels further to the right."""
    return astronaut()[100:356, 200 + left : 456 + left].copy()


def test_warping_error_leaves_out_what_is_hidden_in_one_of_the_frames():
    following = view(8)
    following[100:132, 100:132] ^= 255
    change = ((following.astype(float) - view(8)) ** 2).mean()
    assert warping_error.warping_error(view(0), following) < 0.02 * change


@pytest.mark.parametrize("step", [4, 12])
def test_warping_error_leaves_out_what_leaves_the_image(step):
    # A strip of ``step`` columns of the first frame is not in the second; with it the error would be 7 and 142.
    assert warping_error.warping_error(view(0), view(step)) < 4


def test_warping_error_of_one_frame_is_not_computed(pair, recording):
    figure = warping_error.measure(pair(recording(1)), NO_MODELS)
    assert figure.value is None
    assert "no two neighbouring frames" in figure.why
