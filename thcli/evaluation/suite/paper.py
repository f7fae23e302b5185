"""Figures printed in the paper: Tables 1 and 2, and Table 3 of the supplement.

They stand beside thgen's figures for orientation. They were measured on other data, with other crops and other
networks, so their rows are not comparable with thgen's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LRW, VOXCELEB2, LRS3 = "LRW", "VoxCeleb2", "LRS3-TED"
_ARROWS = {"LMD": "LMD ↓", "CSIM": "CSIM ↑", "SSIM": "SSIM ↑", "FID": "FID ↓"}


@dataclass(frozen=True)
class Printed:
    """One figure of the paper.

    table: number of the table
    method, dataset, metric: names in the paper
    """

    table: int
    method: str
    dataset: str
    metric: str
    value: float


def _table(
    number: int, datasets: tuple[str, ...], metrics: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]
) -> Iterator[Printed]:
    """Yield the figures of a table whose columns are the metrics of each dataset in turn."""
    columns = [(dataset, metric) for dataset in datasets for metric in metrics]
    for method, values in rows.items():
        for (dataset, metric), value in zip(columns, values, strict=True):
            yield Printed(number, method, dataset, metric, value)


_TABLE_1: Mapping[str, tuple[float, ...]] = {
    "Chung et al. [8]": (3.15, 0.44, 0.91, 132, 5.4, 0.29, 0.79, 159),
    "Chen et al. [7]": (3.27, 0.38, 0.84, 151, 4.9, 0.31, 0.82, 142),
    "Vougioukas et al. [30]": (3.62, 0.35, 0.88, 116, 6.3, 0.33, 0.85, 127),
    "Ours (K=1)": (3.13, 0.49, 0.76, 62, 3.37, 0.42, 0.74, 47),
}
_TABLE_2: Mapping[str, tuple[float, ...]] = {
    "Wiles et al. [35]": (0.57, 0.28, 172, 0.65, 0.31, 117.3),
    "Chen et al. [7]": (0.66, 0.31, 294, 0.61, 0.39, 107.2),
    "Zakharov et al. [37] (K=1)": (0.56, 0.27, 361, 0.64, 0.42, 88.0),
    "Wang et al. [31] (K=1)": (0.59, 0.33, 161, 0.69, 0.48, 59.4),
    "Ours (K=1)": (0.71, 0.37, 354, 0.71, 0.44, 40.8),
    "Zakharov et al. [37] (K=8)": (0.65, 0.32, 284, 0.71, 0.54, 62.6),
    "Wang et al. [31] (K=8)": (0.68, 0.36, 144, 0.72, 0.53, 42.6),
    "Ours (K=8)": (0.76, 0.41, 324, 0.71, 0.50, 37.1),
    "Zakharov et al. [37] (K=32)": (0.72, 0.41, 154, 0.75, 0.54, 51.8),
    "Wang et al. [31] (K=32)": (0.69, 0.40, 132, 0.73, 0.60, 41.4),
    "Ours (K=32)": (0.79, 0.44, 122, 0.78, 0.58, 35.7),
}
_TABLE_3: Mapping[str, tuple[float, ...]] = {
    "Baseline": (0.19, 0.67, 112),
    "Full Model": (0.44, 0.71, 40.8),
    "w/o 3D-Aware": (0.21, 0.61, 109),
    "w/o Hybrid-Attention": (0.37, 0.73, 57.8),
    "w/o Non-Linear Comp.": (0.40, 0.69, 64.5),
    "w/o warping": (0.34, 0.67, 78.2),
}
TABLES: tuple[Printed, ...] = (
    *_table(1, (LRW, VOXCELEB2), ("LMD", "CSIM", "SSIM", "FID"), _TABLE_1),
    *_table(2, (LRS3, VOXCELEB2), ("SSIM", "CSIM", "FID"), _TABLE_2),
    *_table(3, (VOXCELEB2,), ("CSIM", "SSIM", "FID"), _TABLE_3),
)
CAPTIONS = {
    1: "Table 1, audio-driven",
    2: "Table 2, landmark-driven; K references from the first 64 frames",
    3: "Table 3, ablation; Full Model is all of it, as thgen is where no networks were trained without the parts",
}


def printed_for(drive: str, ablated: bool) -> tuple[Printed, ...]:
    """Return the figures for a value of ``--drive``, with those of the ablation where one was made."""
    numbers = {1 if drive == "audio" else 2, *((3,) if ablated else ())}
    return tuple(one for one in TABLES if one.table in numbers)


def markdown(printed: tuple[Printed, ...]) -> str:
    """Return figures as Markdown tables, under a heading that names the data on which they were measured."""
    datasets = ", ".join(dict.fromkeys(one.dataset for one in printed))
    lines = [
        f"## Printed in the paper, on other data ({datasets}): not comparable row by row",
        "",
        "Chen et al., ECCV 2020. Other people, crops, face recognition network and landmarks than ours.",
    ]
    for number in dict.fromkeys(one.table for one in printed):
        lines += ["", f"{CAPTIONS[number]}:", "", *_lines([one for one in printed if one.table == number])]
    return "\n".join([*lines, ""])


def _lines(printed: list[Printed]) -> Iterator[str]:
    columns = list(dict.fromkeys((one.dataset, one.metric) for one in printed))
    yield f"| method | {' | '.join(f'{dataset}: {_ARROWS[metric]}' for dataset, metric in columns)} |"
    yield f"|---{'|---:' * len(columns)}|"
    for method in dict.fromkeys(one.method for one in printed):
        values = {(one.dataset, one.metric): one.value for one in printed if one.method == method}
        yield f"| {method} | {' | '.join(_text(values[column]) for column in columns)} |"


def _text(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:g}"
