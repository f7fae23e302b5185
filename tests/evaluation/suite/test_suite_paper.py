"""The paper's figures as printed, each with the data they were measured on."""

from __future__ import annotations

import pytest

from thcli.evaluation.suite.paper import TABLES, markdown, printed_for


def printed(table, method, dataset):
    return {one.metric: one.value for one in TABLES if (one.table, one.method, one.dataset) == (table, method, dataset)}


def test_tables_hold_figures_as_they_are_printed():
    assert printed(1, "Ours (K=1)", "LRW") == {"LMD": 3.13, "CSIM": 0.49, "SSIM": 0.76, "FID": 62}
    assert printed(1, "Chung et al. [8]", "VoxCeleb2") == {"LMD": 5.4, "CSIM": 0.29, "SSIM": 0.79, "FID": 159}
    assert printed(2, "Ours (K=32)", "LRS3-TED") == {"SSIM": 0.79, "CSIM": 0.44, "FID": 122}
    assert printed(2, "Wang et al. [31] (K=8)", "VoxCeleb2") == {"SSIM": 0.72, "CSIM": 0.53, "FID": 42.6}
    assert printed(3, "w/o Hybrid-Attention", "VoxCeleb2") == {"CSIM": 0.37, "SSIM": 0.73, "FID": 57.8}
    assert printed(3, "Full Model", "VoxCeleb2") == {"CSIM": 0.44, "SSIM": 0.71, "FID": 40.8}
    assert len(TABLES) == 4 * 8 + 11 * 6 + 6 * 3


@pytest.mark.parametrize(
    ("drive", "ablated", "tables", "datasets"),
    [
        ("audio", False, {1}, "LRW, VoxCeleb2"),
        ("landmarks", False, {2}, "LRS3-TED, VoxCeleb2"),
        ("landmarks", True, {2, 3}, "LRS3-TED, VoxCeleb2"),
    ],
)
def test_printed_for_gives_a_drive_its_tables_under_a_heading_that_names_the_data(drive, ablated, tables, datasets):
    figures = printed_for(drive, ablated)
    assert {one.table for one in figures} == tables
    text = markdown(figures)
    assert text.startswith(f"## Printed in the paper, on other data ({datasets}): not comparable row by row")
    assert {f"Table {number}" in text for number in tables} == {True}
    rows = [line for line in text.splitlines() if line.startswith("| Ours (K=1)")]
    assert (
        rows
        == {
            "audio": ["| Ours (K=1) | 3.13 | 0.49 | 0.76 | 62 | 3.37 | 0.42 | 0.74 | 47 |"],
            "landmarks": ["| Ours (K=1) | 0.71 | 0.37 | 354 | 0.71 | 0.44 | 40.8 |"],
        }[drive]
    )
    assert "LRW" in text or drive == "landmarks"
