"""What every picture passes through, sent alone or in a job: size, model, admission, decode, tiles, encode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.image import ImageLimits, PictureInfo, decode_image, encode_image, peek_image
from runtime.restoration import TiledRestoration
from runtime.stitch import band_bytes
from runtime.tiles import Tile, plan_tiles
from serving.errors import ResultTooLargeError
from serving.models import LoadedModel, ModelKeeper
from serving.negotiation import PictureFormat
from serving.options import Options
from serving.scheduling import CodecCosts, Demand, Scheduler
from serving.scheduling.admission import ScheduledStage
from serving.settings import Settings

Progress = Callable[[int, int], None]
"""Called with the tiles that are done and the tiles there are, from any thread."""


@dataclass
class Order:
    """What is wanted of one picture, and what became known of it on the way.

    Attributes:
        task: derain, denoise or super-resolution.
        options: As the client gave them.
        format: Of the answer.
        deadline: Moment of the monotonic clock by which the answer has to be ready.
        model: Which network was chosen.
        admitted: Moment of the same clock at which it was taken, if it was.
        predicted_s: Seconds that admission expected all of it to take from there.
        seconds: Time spent in each stage so far.
    """

    task: str
    options: Options
    format: PictureFormat
    deadline: float
    model: LoadedModel | None = None
    admitted: float | None = None
    predicted_s: float | None = None
    seconds: Mapping[ScheduledStage, float] = field(default_factory=dict)

    def stages(self, read_s: float | None = None) -> dict[str, float]:
        """Seconds of every stage that was reached; `read_s` is that of the body, if it had one of its own."""
        known: dict[str, float] = {stage: seconds for stage, seconds in self.seconds.items()}  # noqa: C416 - wider keys
        return known if read_s is None else {"read": read_s} | known


@dataclass(frozen=True)
class Result:
    """A picture file ready to send, and the sizes it came from in pixels."""

    data: bytes
    model: LoadedModel
    tiles: int
    input_pixels: int
    output_pixels: int


class Pipeline:
    """The way of one picture; shared by all requests and jobs of one worker."""

    def __init__(self, settings: Settings, keeper: ModelKeeper, scheduler: Scheduler, codecs: CodecCosts) -> None:
        self._limits = ImageLimits(max_pixels=settings.max_pixels, max_bytes=settings.max_body_bytes)
        self._max_output_pixels = settings.max_output_pixels
        self._keeper = keeper
        self._scheduler = scheduler
        self._codecs = codecs

    async def run(self, data: bytes, order: Order, progress: Progress | None = None) -> Result:
        """Restores one picture file.

        Args:
            data: The file as it was sent.
            order: What is wanted; what is not known of it yet is filled in, also when this fails.
            progress: Told of every tile that is done.

        Raises:
            ImageError: The file cannot be read or is too large.
            EngineError: The network's answer is not finite.
            RequestError: No such model, no room, too little time, or a result too large.
        """
        info = peek_image(data, self._limits)
        models = self._keeper.catalogue.candidates(order.task, order.options.scale, order.options.model)
        model, demand = self._choose(models, info, order)
        order.model = model
        with self._scheduler.admit(demand, order.deadline) as admission:
            order.admitted = self._scheduler.clock()
            order.predicted_s, order.seconds = admission.predicted_s, admission.seconds
            keep = order.options.metadata == "keep"
            restoration = await admission.decode(
                lambda: model.begin(decode_image(data, self._limits, keep_metadata=keep))
            )
            self._codecs.observe_decode(info, admission.seconds["decode"])
            await admission.restore(restoration if progress is None else _Watched(restoration, progress))
            packed = await admission.encode(
                lambda: encode_image(restoration.result(), order.format, order.options.quality)
            )
            height, width = info.height * model.scale, info.width * model.scale
            self._codecs.observe_encode(order.format, width, height, admission.seconds["encode"])
        return Result(packed, model, demand.tiles, info.pixels, width * height)

    def _choose(self, models: Sequence[LoadedModel], info: PictureInfo, order: Order) -> tuple[LoadedModel, Demand]:
        """The first of these that would be admitted, else the quickest, so that admission says why not."""
        offers = [(model, self._demand(model, info, order)) for model in models]
        if len(offers) == 1:
            return offers[0]
        for model, demand in offers:
            if self._scheduler.predict(demand, order.deadline) < float("inf"):
                return model, demand
        return min(offers, key=lambda offer: self._scheduler.predict(offer[1]))

    def _demand(self, model: LoadedModel, info: PictureInfo, order: Order) -> Demand:
        pixels = info.pixels
        if pixels * model.scale**2 > self._max_output_pixels:
            raise ResultTooLargeError(
                f"The result would have {pixels * model.scale**2} pixels, {self._max_output_pixels} are allowed. "
                f"At scale {model.scale} send at most {self._max_output_pixels // model.scale**2} pixels."
            )
        size = model.bundle.manifest.size
        tiles = plan_tiles(info.height, info.width, size)
        return Demand.for_tiles(
            model,
            (tiles[0].height, tiles[0].width),
            len(tiles),
            decode_s=self._codecs.decode_seconds(info),
            encode_s=self._codecs.encode_seconds(order.format, info.width * model.scale, info.height * model.scale),
            picture_bytes=info.nbytes * (1 + model.scale**2) + band_bytes(info.height, info.width, size),
        )


class _Watched:
    """A restoration that tells of every tile that is done."""

    def __init__(self, restoration: TiledRestoration, progress: Progress) -> None:
        self._restoration = restoration
        self._progress = progress
        self._done = 0

    @property
    def tiles(self) -> Sequence[Tile]:
        return self._restoration.tiles

    @property
    def tile_shape(self) -> tuple[int, int]:
        return self._restoration.tile_shape

    def cut(self, index: int) -> NDArray[np.float32]:
        return self._restoration.cut(index)

    def put(self, index: int, output: NDArray[np.float32]) -> None:
        self._restoration.put(index, output)
        self._done += 1
        self._progress(self._done, len(self.tiles))
