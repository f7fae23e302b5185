"""The jobs of one process, one after the other: while a job is drawn, the next one is heard and tracked.

Frames of several jobs are not drawn in one call of the network: on the CPU a frame costs the same in any company.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from thcli.batch.jobs import Job
from thcli.batch.outcomes import Outcome, failed
from thcli.batch.overlap import ahead
from thcli.batch.resume import is_done
from thcli.generate.checks import check_all
from thcli.generate.session import Prepared, Studio
from thcli.pipeline.options import Quiet
from thcli.pipeline.track_cache import TrackCache

FINAL = (2, 4, 5)
"""Exit codes of errors that another try cannot change: options, faces and weights."""
PAUSE = 1.0
"""Seconds before another try: what failed may need a moment, such as a file server or memory that others hold."""
Describe = Callable[[Exception], tuple[str, int]]
"""The line and the exit code of an error."""


@dataclass(frozen=True)
class Manner:
    """How a batch is run.

    retries: further tries for jobs that fail; keep_going: whether others begin after one has failed
    resume: whether jobs that are done are left as they are
    describe: the line and the exit code for an error; it runs where the job does
    """

    describe: Describe
    retries: int = 0
    keep_going: bool = True
    resume: bool = False


@dataclass(frozen=True)
class _Begun:
    """A job so far: ready to be drawn, an error, or None where it is done already; and seconds since its beginning."""

    job: Job
    state: Prepared | Exception | None
    seconds: float


class Runner:
    """Runs jobs; networks and persons are kept from one to the next."""

    def __init__(self, manner: Manner) -> None:
        self.manner, self.studio = manner, Studio(TrackCache(), batch=True)

    def run(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """Outcomes as jobs end, in their order."""
        with closing(ahead(map(self._begin, jobs), 1)) as begun:
            for start in begun:
                outcome = self._end(start)
                yield outcome
                if outcome.status == "failed" and not self.manner.keep_going:
                    return

    def run_one(self, job: Job) -> Outcome:
        """One job from its beginning to its end."""
        return self._end(self._begin(job))

    def _begin(self, job: Job) -> _Begun:
        """All that comes before drawing."""
        began = time.perf_counter()
        state: Prepared | Exception | None
        try:
            state = None if self.manner.resume and is_done(job) else self._prepare(job)
        except Exception as error:
            state = error
        return _Begun(job, state, time.perf_counter() - began)

    def _prepare(self, job: Job) -> Prepared:
        check_all(job.reference, job.audio, job.output, job.options)
        return self.studio.prepare(job.reference, job.audio, job.options, Quiet())

    def _end(self, start: _Begun) -> Outcome:
        """Drawing and writing, and everything anew where that or what came before it failed."""
        job, state, seconds, tries = start.job, start.state, start.seconds, self.manner.retries
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

    def _finish(self, job: Job, state: Prepared | Exception | None, seconds: float) -> Outcome:
        if state is None:
            return Outcome(job.id, "skipped", 0.0, None, str(job.output))
        began = time.perf_counter()
        try:
            if isinstance(state, Exception):
                raise state
            result = self.studio.finish(state, job.output, Quiet())
        except Exception as error:
            return failed(job, seconds + time.perf_counter() - began, *self.manner.describe(error))
        seconds = round(seconds + time.perf_counter() - began, 3)
        return Outcome(job.id, "done", seconds, result.frames, str(job.output))
