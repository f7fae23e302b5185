from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from thgen_models.embedding import Embedding
from thgen_models.generator import FrameNetwork, Frames, Generator, GeneratorDims

MakeReferences = Callable[..., tuple[Tensor, Tensor]]
MakeFrames = Callable[..., Frames]
MakeTrained = Callable[[GeneratorDims], Generator]

NAMES = [field.name for kind in (Frames, Embedding) for field in dataclasses.fields(kind)]


def test_onnx_runtime_gives_the_same_pictures(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, trained: MakeTrained, tmp_path: Path
) -> None:
    network = FrameNetwork(trained(tiny).eval())
    batch, count = torch.export.Dim("batch", max=64), torch.export.Dim("references", max=64)
    shapes = [{0: batch}] * 5 + [{1: count}] * 3 + [{}] * 2

    def tensors(frame_count: int, reference_count: int) -> list[Tensor]:
        made, embedding = frames(frame_count), network.generator.embed(*references(1, reference_count))
        return [*(getattr(made, name) for name in NAMES[:5]), *(t.detach() for t in embedding.tensors())]

    path = tmp_path / "generator.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(tensors(2, 3)),
            path,
            input_names=NAMES,
            output_names=["picture"],
            opset_version=18,
            dynamic_shapes=(tuple(shapes),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for frame_count, reference_count in ((1, 1), (2, 3), (5, 8)):
        given = tensors(frame_count, reference_count)
        with torch.no_grad():
            want = network(*given).numpy()
        (got,) = session.run(None, {name: t.numpy() for name, t in zip(NAMES, given, strict=True)})
        assert got.shape == (frame_count, 3, 32, 32)
        assert np.abs(got - want).max() <= 1 / 255
        assert np.abs(want - given[0].numpy()).max() > 10 / 255
