"""All readers of raw data sets."""

from drake.data.sources.raw.aqua import Aqua
from drake.data.sources.raw.cirr import CIRR
from drake.data.sources.raw.comics import Comics
from drake.data.sources.raw.dataset import RawDataset
from drake.data.sources.raw.dreamsim import DreamSim
from drake.data.sources.raw.imagecode import ImageCoDe
from drake.data.sources.raw.irfl import IRFL
from drake.data.sources.raw.magicbrush import MagicBrush
from drake.data.sources.raw.mantis import Mantis
from drake.data.sources.raw.nlvr2 import NLVR, NLVR2
from drake.data.sources.raw.vsr import VSR
from drake.data.sources.raw.worldcuisines import WorldCuisines

READERS: tuple[type[RawDataset], ...] = (
    NLVR2,
    NLVR,
    VSR,
    CIRR,
    ImageCoDe,
    Comics,
    WorldCuisines,
    Mantis,
    Aqua,
    IRFL,
    MagicBrush,
    DreamSim,
)
