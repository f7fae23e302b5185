"""``thgen batch``."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thcli.commands import generate, options
from thcli.commands.failures import SOME_FAILED, Failure, failure_of
from thcli.commands.progress import show_progress
from thcli.pipeline.options import WRITTEN, DubOptions, GenerateOptions

if TYPE_CHECKING:
    from thcli.batch.jobs import Job, Shard
    from thcli.batch.outcomes import Outcome
    from thcli.batch.run import RunPolicy
    from thcli.generation.checks import Plan

OF_ONE_JOB = ("reference", "audio", "output", "start", "face", *WRITTEN, "dry_run", "progress")
"""Parameters of ``generate`` that apply to a single video, or that ``batch`` defines itself."""


@click.command("batch")
@click.argument("jobs", type=options.PATH, metavar="JOBS.jsonl|-")
@click.option(
    "--out-dir", required=True, type=options.PATH, metavar="DIR", help="Folder of the videos; made if needed."
)
@click.option("--resume", is_flag=True,
              help="Skip jobs that are done with the same inputs, options, weights and version.")  # fmt: skip
@click.option("--shard", metavar="I/N", help="Run only part I of N, counted from 1; a job's id decides its part.")
@click.option("--retries", type=click.IntRange(0, 100), default=0, show_default=True, metavar="N",
              help="Try a failed job up to N more times, unless that cannot help.")  # fmt: skip
@click.option("--keep-going/--fail-fast", default=True, show_default=True,
              help="Begin further jobs after one has failed, or stop.")  # fmt: skip
@click.option("--ray", is_flag=False, flag_value="", metavar="[ADDRESS]",
              help="Run on a Ray cluster, one actor per device; without ADDRESS, on a local one.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Check all jobs and print what would be done.")
@options.progress
def command(
    jobs: Path,
    out_dir: Path,
    resume: bool,
    shard: str | None,
    retries: int,
    keep_going: bool,
    ray: str | None,
    dry_run: bool,
    progress: str,
    **defaults: Any,
) -> None:
    """Make one video per line of a list; networks are loaded once, and each clip is tracked once.

    A line of JOBS.jsonl is a JSON object: id, ref and audio, and any long option of 'thgen generate' without its
    leading dashes; or id, dub (a video) and audio, and any long option of 'thgen dub'. The options below are the
    defaults of all jobs. Inputs are relative to the list's folder, outputs to DIR, where a video is named ID.mp4 unless
    the job gives an "output". The outcome of each job becomes a line of DIR/outcomes.jsonl, or for a shard of
    DIR/outcomes.I-of-N.jsonl. One bad job never stops the others, unless --fail-fast is given; exit code 7 says that
    some failed.

    \b
    thgen batch jobs.jsonl --out-dir videos
    thgen batch jobs.jsonl --out-dir videos --resume --retries 2
    thgen batch jobs.jsonl --out-dir videos --shard 3/16 --device cuda
    """
    from thcli.batch.jobs import Shard, read_jobs
    from thcli.batch.run import RunPolicy
    from thcli.checkpoints import weight_folders

    weight_folders(defaults["weights"])  # a folder that is of no use to any job is refused before the first
    part = None if shard is None else Shard.parse(shard)
    defaults["overwrite"] |= resume  # files of jobs that are not done are replaced
    listed = read_jobs(jobs, out_dir, GenerateOptions(**defaults))
    mine = [job for job in listed if part is None or job in part]
    policy = RunPolicy(_described_at_length if _debugging() else described, retries, keep_going, resume)
    if dry_run:
        _say_plans(mine, resume)
        return
    began = time.monotonic()
    with (
        show_progress(progress, unit="jobs") as display,
        closing(_logged(mine, out_dir, part, policy, ray)) as outcomes,
    ):
        display.stage("jobs", len(mine))
        ended = []
        for outcome in outcomes:
            ended.append(outcome)
            display.advance()
            if outcome.status == "failed":
                click.echo(f"thgen: {outcome.id}: {outcome.error}", err=True)
            for note in outcome.notes:
                click.echo(f"thgen: {outcome.id}: note: {note}", err=True)
    _summarise(ended, mine, out_dir, part, time.monotonic() - began)


def described(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code of a job's error."""
    failure = failure_of(error)
    return failure.message.removeprefix("error: "), failure.exit_code


def _described_at_length(error: Exception) -> tuple[str, int]:
    """Print the traceback of a job's error, and return its message and exit code."""
    traceback.print_exception(error, file=sys.stderr)
    return described(error)


def _debugging() -> bool:
    return bool(click.get_current_context().find_root().meta.get("thgen.debug"))


def _logged(
    jobs: list[Job], folder: Path, part: Shard | None, policy: RunPolicy, ray: str | None
) -> Generator[Outcome, None, None]:
    """Run the jobs, and yield each outcome once it is in the log."""
    from thcli.batch.folder import writing
    from thcli.batch.outcomes import OutcomeLog, log_path

    outcomes: Generator[Outcome, None, None]
    if ray is None:
        from thcli.batch.run import Runner

        outcomes = Runner(policy).run(jobs)
    else:
        from thcli.batch.cluster import run_on_ray

        outcomes = run_on_ray(jobs, policy, ray or None)
    places = [path.parent for job in jobs for path in job.outputs]
    with writing(folder, places), OutcomeLog(log_path(folder, part)) as log, closing(outcomes):
        for outcome in outcomes:
            log.write(outcome)
            yield outcome


def _say_plans(jobs: list[Job], resume: bool) -> None:
    """Print one line per job that says what would be done; write nothing."""
    from thcli.batch.resume import is_done
    from thcli.generation.checks import plan
    from thcli.generation.dub_plan import plan_dub

    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for job in jobs:
            if resume and is_done(job):
                click.echo(f"{job.id}: done already, {job.output}")
                continue
            try:
                shown = job.with_folders(Path(scratch))
                files = (shown.reference, shown.audio, shown.output)
                made: Plan
                if isinstance(shown.options, DubOptions):
                    made = plan_dub(*files, shown.options)
                else:
                    made = plan(*files, shown.options)
            except Exception as error:
                failed += 1
                click.echo(f"{job.id}: {described(error)[0]}")
            else:
                length = "length unknown until read" if made.frames is None else f"{made.frames} frames"
                click.echo(f"{job.id}: {job.output}, {length}, {made.device}")
    if failed:
        raise Failure(f"error: {failed} of {len(jobs)} jobs would fail", SOME_FAILED)


def _summarise(ended: list[Outcome], jobs: list[Job], folder: Path, part: Shard | None, seconds: float) -> None:
    from thcli.batch.outcomes import log_path

    count = {status: sum(outcome.status == status for outcome in ended) for status in ("done", "skipped", "failed")}
    frames = sum(outcome.frames or 0 for outcome in ended)
    said = [f"{count['done']} done", *(f"{count[s]} {s}" for s in ("skipped", "failed") if count[s])]
    if len(ended) < len(jobs):
        said.append(f"{len(jobs) - len(ended)} not begun")
    total = f"{len(jobs)} {'job' if len(jobs) == 1 else 'jobs'}: {', '.join(said)}"
    text = f"{total}; {frames} frames in {seconds:.1f} s; {log_path(folder, part)}"
    if count["failed"]:
        raise Failure(text, SOME_FAILED)
    click.echo(text, err=True)


def _of_many_jobs() -> list[click.Parameter]:
    """Return the parameters of ``generate`` that can apply to all jobs of a list, unchanged."""
    return [parameter for parameter in generate.command.params if parameter.name not in OF_ONE_JOB]


command.params.extend(_of_many_jobs())
