"""Everything that the requests of one worker share, put together once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from starlette.datastructures import QueryParams

from runtime.host import usable_cores
from serving.errors import NotReadyError
from serving.guard.budget import ByteBudget
from serving.jobs import JobOptions, Jobs, Progress, RestoredFile
from serving.jobs.jobs import OFF
from serving.metrics import Metrics
from serving.models import Fleet
from serving.negotiation import FORMATS
from serving.options import TASKS, parse_options
from serving.pipeline import Order, Pipeline
from serving.scheduling import CodecCosts, Scheduler
from serving.settings import Settings

SAMPLE_S = 0.5
"""Seconds between two looks at the scheduler, for the metrics."""

JOBS_SAMPLE_S = 5.0
"""Seconds between two looks at the store of jobs: it may be at the other end of a network."""


@dataclass
class Workplace:
    """One worker's models, scheduler, metrics and jobs.

    Attributes:
        settings: As the server was started.
        fleet: The models, and what the workers tell each other of them.
        scheduler: Slots and queue.
        codecs: What decoding and encoding cost.
        pipeline: The way of one picture.
        bodies: Memory of request bodies.
        metrics: What Prometheus reads.
        jobs: None if they are switched off.
    """

    settings: Settings
    fleet: Fleet
    scheduler: Scheduler
    codecs: CodecCosts
    pipeline: Pipeline
    bodies: ByteBudget
    metrics: Metrics
    jobs: Jobs | None = None
    _sampling: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    @classmethod
    def open(cls, settings: Settings, worker: int = 1) -> Workplace:
        """Opens the models and makes the threads; nothing is warmed up yet.

        Args:
            settings: As the server was started.
            worker: The number of this one, from 1.

        Raises:
            MillisightError: Nothing can be served with these settings.
        """
        metrics = Metrics(worker)
        fleet = Fleet.of(settings, metrics.observe_catalogue)
        fleet.open()
        scheduler = Scheduler(
            slots=settings.slots,
            cores=max(1, usable_cores() // settings.workers),
            max_waiting=settings.queue,
            picture_bytes=settings.picture_bytes,
            observer=metrics,
        )
        codecs = CodecCosts()
        pipeline = Pipeline(settings, fleet.keeper, scheduler, codecs)
        place = cls(settings, fleet, scheduler, codecs, pipeline, ByteBudget(settings.body_bytes_total), metrics)
        if settings.jobs != OFF:
            place.jobs = Jobs(settings, place.restore_file, parse=place.check_job, count=metrics.count_files)
            metrics.begin_jobs(TASKS, settings.job_disk_bytes)
        return place

    def warm_up(self) -> None:
        """Runs everything once and times it, so that no request pays for it; then requests are taken.

        Raises:
            MillisightError: No model is left.
        """
        self.codecs.calibrate()
        self.fleet.warm_up()

    @property
    def ready(self) -> bool:
        """Whether every model is warmed up."""
        return self.fleet.keeper.catalogue.ready

    async def start(self) -> None:
        """Begins what runs beside the requests, in the loop that serves them."""
        self._sampling.append(asyncio.create_task(self._sample()))
        if self.jobs is not None:
            await self.jobs.start()
            self._sampling.append(asyncio.create_task(self._sample_jobs(self.jobs)))

    async def stop(self) -> None:
        """Ends everything."""
        for sampling in self._sampling:
            sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sampling
        if self.jobs is not None:
            await self.jobs.stop()
        self.scheduler.close()
        await asyncio.to_thread(self.fleet.close)

    def check_job(self, query: QueryParams, task: str) -> None:
        """Refuses at its submission a job whose options no model could satisfy.

        Raises:
            RequestError: As a request with these options would be answered.
        """
        options = parse_options(query, task)
        options.check_format(options.format or FORMATS[0])
        self.fleet.keeper.catalogue.candidates(task, options.scale, options.model)

    async def restore_file(self, data: bytes, options: JobOptions, progress: Progress) -> RestoredFile:
        """Restores a file of a job, as a request would be; it may take as long as the job is kept.

        Raises:
            MillisightError: As `Pipeline.run`.
        """
        if not self.ready:
            raise NotReadyError("Models are still loading.", {"Retry-After": "1"})
        chosen = parse_options(options.query, options.task)
        picture_format = chosen.format or FORMATS[0]
        order = Order(options.task, chosen, picture_format, time.monotonic() + self.settings.job_ttl_s)
        with self.metrics.watching(order):
            result = await self.pipeline.run(data, order, progress)
        self.metrics.observe_result(result)
        return RestoredFile(result.data, f"image/{picture_format}", result.model.name)

    async def _sample(self) -> None:
        while True:
            self.metrics.observe_scheduler(self.scheduler.stats, self.bodies)
            self.metrics.observe_catalogue(self.fleet.keeper.catalogue)
            await asyncio.sleep(SAMPLE_S)

    async def _sample_jobs(self, jobs: Jobs) -> None:
        while True:
            self.metrics.observe_jobs(await jobs.holdings())
            await asyncio.sleep(JOBS_SAMPLE_S)
