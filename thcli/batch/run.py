"""Running of jobs in one process, in turn: while a job is rendered, audio and face of the next one are analysed.

Frames of several jobs are not rendered in one call of the network, because on the CPU this makes none of them faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from thcli.batch.jobs import Job
from thcli.batch.outcomes import Outcome, failed
from thcli.batch.prefetch import prefetch
from thcli.batch.resume import is_done
from thcli.generation.checks import check_all
from thcli.generation.dub import Dubber, DubJob, check_dub
from thcli.generation.session import Session, VideoJob
from thcli.pipeline.options import DubOptions
from thcli.pipeline.progress import Quiet
from thcli.pipeline.track_cache import TrackCache

FINAL = (2, 4, 5)
"""Exit codes of errors that another try cannot remove: those of options, faces and weights."""
PAUSE = 1.0
"""Seconds before another try, in which a file server may recover or other programs may free memory."""
Describe = Callable[[Exception], tuple[str, int]]
"""Function that returns the message and the exit code of an error."""


@dataclass(frozen=True)
class RunPolicy:
    """How a batch is run.

    describe: function for the message and the exit code of an error; it runs in the process of the job
    retries: most further tries of a job that fails
    keep_going: whether further jobs begin after one has failed
    resume: whether jobs that are done are skipped
    """

    describe: Describe
    retries: int = 0
    keep_going: bool = True
    resume: bool = False


@dataclass(frozen=True)
class _Begun:
    """A job that was begun.

    state: video that is ready to be drawn, the error that prevented it, or None where the job is done already
    seconds: time that the beginning took
    """

    job: Job
    state: VideoJob | DubJob | Exception | None
    seconds: float


class Runner:
    """A runner of jobs, which keeps networks and persons in memory from one job to the next."""

    def __init__(self, policy: RunPolicy) -> None:
        self.policy, self.session = policy, Session(TrackCache(), batch=True)
        self.dubber = Dubber(TrackCache())

    def run(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """Yield the outcomes of jobs in their order, each as the job ends."""
        with closing(prefetch(map(self._begin, jobs), 1)) as begun:
            for start in begun:
                outcome = self._end(start)
                yield outcome
                if outcome.status == "failed" and not self.policy.keep_going:
                    return

    def run_one(self, job: Job) -> Outcome:
        """Run one job from its beginning to its end."""
        return self._end(self._begin(job))

    def _begin(self, job: Job) -> _Begun:
        """Do everything that precedes rendering."""
        began = time.perf_counter()
        state: VideoJob | DubJob | Exception | None
        try:
            state = None if self.policy.resume and is_done(job) else self._prepare(job)
        except Exception as error:
            state = error
        return _Begun(job, state, time.perf_counter() - began)

    def _prepare(self, job: Job) -> VideoJob | DubJob:
        if isinstance(job.options, DubOptions):
            check_dub(job.reference, job.audio, job.output, job.options)
            return self.dubber.prepare(job.reference, job.audio, job.options, Quiet())
        check_all(job.reference, job.audio, job.output, job.options)
        return self.session.prepare(job.reference, job.audio, job.options, Quiet())

    def _end(self, start: _Begun) -> Outcome:
        """Render and write a job; where that or its beginning failed, try the whole job again."""
        job, state, seconds, tries = start.job, start.state, start.seconds, self.policy.retries
        while True:
            began = time.perf_counter()
            outcome = self._finish(job, state, seconds)
            seconds += time.perf_counter() - began
            if not tries or outcome.exit_code in (0, *FINAL):
                return outcome
            tries -= 1
            time.sleep(PAUSE)
            again = self._begin(job)
            state, seconds = again.state, seconds + PAUSE + again.seconds

    def _finish(self, job: Job, state: VideoJob | DubJob | Exception | None, seconds: float) -> Outcome:
        """Render and write a job once, and return its outcome; ``seconds`` is the time that it took before."""
        if state is None:
            return Outcome(job.id, "skipped", 0.0, None, str(job.output))
        began = time.perf_counter()
        try:
            if isinstance(state, Exception):
                raise state
            if isinstance(state, DubJob):
                result = self.dubber.finish(state, job.output, Quiet())
            else:
                result = self.session.finish(state, job.output, Quiet())
        except Exception as error:
            return failed(job, seconds + time.perf_counter() - began, *self.policy.describe(error))
        seconds = round(seconds + time.perf_counter() - began, 3)
        notes = tuple(dict.fromkeys(result.notes + result.warnings))
        return Outcome(job.id, "done", seconds, result.frames, str(job.output), notes=notes)
