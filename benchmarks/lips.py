"""Measure the lips at every stage before the image: `python benchmarks/lips.py STORE [--split val] [--weights DIR]`.

The first three seconds of every clip are the reference; the rest of its audio drives the mouth. The stages are what Ψ
predicts, that fitted to the person's articulation, and that with the lips closed where Ψ hears them meet; the last is
what the image is drawn from (`benchmarks/talking.py` measures finished videos). Audio and mouth are in step by the
store's ``av_lag``. The columns are means over the clips:

    corr       correlation of the mouth's opening with the tracked one, at the best lag within two frames, and the
               lowest of a clip
    spread     standard deviation of the opening over the tracked one's; in how many clips it is within 0.85 to 1.15
    met        share of the real closures of the lips that are met within two frames, and right, of those made
    LMD        distance of the mouth landmarks from the tracked ones, pixels at 256²; the neutral face's as well
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from talking import MAX_LAG, PAST

from thcli.data.audio_motion import AudioMotion, correlation, in_step
from thcli.data.store import Store
from thcli.evaluation.metrics.closures import MEETING, near_others
from thcli.evaluation.metrics.lmd import MOUTH, mouth_distances
from thcli.face_model import LANDMARKS_68, FaceModel, mouth_opening
from thcli.motion.articulation import fit_articulation
from thcli.motion.closure import close_lips
from thcli.motion.expression import Prediction, predict_read
from thcli.pipeline.models import load_models
from thcli.records import Float
from thcli.training.expression_clips import load_clips

FRAMES = 1500
"""Most frames of a clip that are measured."""
