"""What is measured on a GPU, and how large it is. The tests measure less."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from senumpy.errors import InputError

WORKS = {
    "copy": "bandwidth of a large copy, the yardstick of the kernels",
    "kernels": "the kernels that memory limits",
    "train": "training step",
    "inference": "a batch, and one image",
    "cost": "with SE over without, training step",
    "memory": "peak of a training step",
    "cifar": "images fed while training",
    "deterministic": "price of the same bits each time",
    "crossover": "batch from which the GPU is faster than the processor",
}
PRECISIONS = ("tf32", "float32")


@dataclass(frozen=True)
class Settings:
    """Sizes of the works.

    Attributes
    ----------
    device : int
        Number of the GPU.
    torch_device : str or None
        Where PyTorch computes; None for the same GPU.
    repeats, warm_ups : int
        Rounds that count, and rounds before them.
    turn : float
        Seconds: a contender whose run is shorter does several in a round.
    model, plain : str
        The network with SE and without.
    batch, size, classes : int
        Of the network's images.
    copied : int
        Bytes of the array that is copied.
    activations, pooled : tuple
        Channels and side of what the kernels work on, and of what is pooled.
    launches : int
        Of a kernel between two events.
    small_model : str
        Of the works `cifar` and `crossover`, on 32x32 images.
    small_size, small_batch, small_steps : int
        Side of its images; batch, and steps in a round, of `cifar`.
    batches : tuple of int
        Of `crossover`.
    """

    device: int = 0
    torch_device: str | None = None
    repeats: int = 5
    warm_ups: int = 2
    turn: float = 0.1
    model: str = "se_resnet50"
    plain: str = "resnet50"
    batch: int = 256
    size: int = 224
    classes: int = 1000
    copied: int = 2**30
    activations: tuple[tuple[int, int], ...] = ((256, 56), (1024, 14))
    pooled: tuple[int, int] = (64, 112)
    launches: int = 10
    small_model: str = "se_resnet20_cifar"
    small_size: int = 32
    small_batch: int = 128
    small_steps: int = 100
    batches: tuple[int, ...] = (1, 4, 16, 64, 256)

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise InputError(f"repeats: got {self.repeats}, wanted at least 1")
        if self.batch < 1:
            raise InputError(f"batch size: got {self.batch}, wanted at least 1")


def select_works(wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the wanted works in the order in which they are measured; all where none is wanted.

    Raises
    ------
    InputError
        There is no work of this name.
    """
    wanted = set(wanted)
    for name in sorted(wanted):
        if name not in WORKS:
            raise InputError(f"no work {name!r} on a GPU; wanted {', '.join(WORKS)}")
    return tuple(name for name in WORKS if not wanted or name in wanted)
