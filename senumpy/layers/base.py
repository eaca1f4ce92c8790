"""What all layers share: parameters, buffers, names, modes, and state that passes in and out.

A layer owns its parameters and their gradients and calls its engine. `forward` keeps the cache that
`backward` needs: there is no tape. Parameters, buffers and inner layers are found among the layer's public
attributes, in the order in which they were set, and are named by them: `layer1.0.conv1.weight`, as in
torchvision.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from senumpy.engines import Engine, engine
from senumpy.errors import InputError
from senumpy.ops.arrays import Array

_SWITCH = threading.Lock()  # one thread at a time begins or ends an inference


class _Holder:
    """An array of a layer's state. While any inference goes on, it is read-only."""

    def __init__(self, value: Array):
        self.value = value
        self._inferences = 0
        self._locked: Array | None = None

    def begin_inference(self) -> None:
        """Lock the array, unless another inference did."""
        self._inferences += 1
        if self._inferences == 1 and isinstance(self.value, np.ndarray) and self.value.flags.writeable:
            self._locked = self.value
            self.value.flags.writeable = False

    def end_inference(self) -> None:
        """Unlock the array, unless another inference goes on."""
        self._inferences -= 1
        if self._inferences == 0 and self._locked is not None:
            self._locked.flags.writeable = True
            self._locked = None


class Parameter(_Holder):
    """An array that is trained, and its gradient.

    Attributes
    ----------
    value : array
        Changed in place by the optimiser.
    grad : array or None
        dL/dvalue after a backward; None before.
    decay : bool
        Whether weight decay applies: not to batch norm and biases.
    """

    def __init__(self, value: Array, *, decay: bool = True):
        super().__init__(value)
        self.grad: Array | None = None
        self.decay = decay


class Buffer(_Holder):
    """An array that belongs to the state of a layer but is not trained: running statistics."""


class Layer:
    """Base of all layers.

    Attributes
    ----------
    engine : Engine
    training : bool
        Batch norm takes the statistics of the batch and updates the running ones.
    recording : bool
        Whether `forward` keeps what `backward` needs.
    accumulating : bool
        Whether `backward` adds to gradients instead of replacing them.
    releasing : bool
        Whether `backward` gives up what `forward` kept, and so can't be called twice.
    draws : bool
        Whether training draws random numbers, from `rng`: dropout, Shake-Shake.
    """

    draws = False
    rng: np.random.Generator

    def __init__(self, engine_: str | Engine = "numpy"):
        self.engine = engine(engine_)
        self.training = True
        self.recording = True
        self.accumulating = False
        self.releasing = False
        self._cache: Any = None
        self._inferences = 0  # that go on
        self._modes = (True, True)  # training and recording before them

    def forward(self, x: Array) -> Array:
        """Return the layer's result for `x`."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters and return the gradient of the last forward's argument."""
        raise TypeError(f"{type(self).__name__} defines no backward")

    # -- names -----------------------------------------------------------------------------------------

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield this layer and all inner ones with their dotted names, outer before inner."""
        yield prefix, self
        for name, value in self._public(Layer):
            yield from value.named_layers(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter with its dotted name."""
        yield from self._named(Parameter)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Yield every buffer with its dotted name."""
        yield from self._named(Buffer)

    def num_parameters(self) -> int:
        """Return how many numbers are trained (buffers don't count)."""
        return sum(parameter.value.size for _, parameter in self.named_parameters())

    def _named(self, kind: Any) -> Iterator[tuple[str, Any]]:
        for prefix, layer in self.named_layers():
            for name, value in layer._public(kind):
                yield (f"{prefix}.{name}" if prefix else name), value

    def _public(self, kind: Any) -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            if isinstance(value, kind) and not name.startswith("_"):
                yield name, value

    # -- modes -----------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> None:
        """Set training mode, here and in all inner layers."""
        for _, layer in self.named_layers():
            layer.training = mode

    def eval(self) -> None:
        """Set evaluation mode: running statistics."""
        self.train(False)

    def accumulate_gradients(self, mode: bool = True) -> None:
        """Make each `backward` add to the gradients (True) or replace them (False, as at the start)."""
        for _, layer in self.named_layers():
            layer.accumulating = mode

    def release_caches(self, mode: bool = True) -> None:
        """Make each `backward` give up what its `forward` kept: training needs less memory."""
        for _, layer in self.named_layers():
            layer.releasing = mode

    def forget(self) -> None:
        """Give up all gradients and all that forwards kept for a backward, so that their memory is free."""
        waiting, seen = deque[Any]([self]), set[int]()
        while waiting:  # units are no named layers: they are found where layers hold them
            part = waiting.pop()
            if id(part) in seen:
                continue
            seen.add(id(part))
            if isinstance(part, Layer):
                part._cache = None
                waiting.extend(vars(part).values())
            elif isinstance(part, Parameter):
                part.grad = None
            elif isinstance(part, (list, tuple)):
                waiting.extend(part)

    def seed_draws(self, *numbers: int) -> None:
        """Make all that is drawn next a function of these numbers and of the layer's place.

        A training step that is repeated with the same numbers, after a restart say, draws the same.
        """
        for place, (_, layer) in enumerate(self.named_layers()):
            if layer.draws:
                layer.rng = np.random.default_rng([*numbers, place])

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Evaluate without keeping anything for a backward; modes are restored at the end.

        Parameters and buffers are read-only meanwhile, so that an engine can prepare them once for all calls:
        folded with batch norm, laid out for its kernels. Inferences may overlap, in threads that serve the
        same network: the last one to end restores.
        """
        layers = [layer for _, layer in self.named_layers()]
        holders = [holder for _, holder in self._named(_Holder)]
        with _SWITCH:
            for part in (*layers, *holders):
                part.begin_inference()
        try:
            with self.engine.frozen_weights():
                yield
        finally:
            with _SWITCH:
                for part in (*layers, *holders):
                    part.end_inference()

    def begin_inference(self) -> None:
        """Switch this one layer to evaluation without recording; see `inference`."""
        if self._inferences == 0:
            self._modes = self.training, self.recording
        self._inferences += 1
        self.training = self.recording = False

    def end_inference(self) -> None:
        """Undo a `begin_inference`; the last one to be undone restores the modes."""
        self._inferences -= 1
        if self._inferences == 0:
            self.training, self.recording = self._modes

    # -- state -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of all parameters and buffers as NumPy arrays, by name."""
        return {
            name: np.array(self.engine.to_numpy(holder.value))
            for name, holder in self._named((Parameter, Buffer))
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy arrays into all parameters and buffers, by name; nothing is changed if any doesn't fit.

        A (O, I, 1, 1) array fits a (O, I) weight: a 1x1 convolution on a 1x1 map is a linear layer.
        PyTorch's `num_batches_tracked` counters are passed over.

        Raises
        ------
        InputError
            Lists missing, surplus and misshaped names.
        """
        given = self.check_state(state)
        for name, holder in self._named((Parameter, Buffer)):
            value = np.reshape(given[name], holder.value.shape)
            holder.value[...] = self.engine.asarray(value, dtype=holder.value.dtype)

    def check_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arrays of a state by name, without PyTorch's counters, if names and shapes fit.

        Only the shapes of the arrays are looked at.

        Raises
        ------
        InputError
            Lists missing, surplus and misshaped names.
        """
        holders = dict(self._named((Parameter, Buffer)))
        given = {name: a for name, a in state.items() if not name.endswith("num_batches_tracked")}
        problems = [
            _listing("missing", [name for name in holders if name not in given]),
            _listing("surplus", [name for name in given if name not in holders]),
            _listing(
                "wrong shape",
                [
                    f"{name} (got {given[name].shape}, wanted {holder.value.shape})"
                    for name, holder in holders.items()
                    if name in given and not _fits(given[name].shape, holder.value.shape)
                ],
            ),
        ]
        if any(problems):
            raise InputError(f"the state doesn't fit: {'; '.join(p for p in problems if p)}")
        return given

    # -- for subclasses --------------------------------------------------------------------------------

    def _keep(self, cache: Any) -> None:
        self._cache = cache if self.recording else None

    def _kept(self) -> Any:
        if self._cache is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward: no forward has been kept; call forward(x) first, "
                "outside inference()"
            )
        cache = self._cache
        if self.releasing:
            self._cache = None
        return cache

    def _receive(self, parameter: Parameter | None, gradient: Array | None) -> None:
        """Store a parameter's gradient, or add it to the one before when accumulating."""
        if parameter is None or gradient is None:
            return
        if self.accumulating and parameter.grad is not None:
            gradient = parameter.grad + gradient
        parameter.grad = gradient


def _fits(got: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return got == wanted or (len(wanted) == 2 and got == (*wanted, 1, 1))


def _listing(title: str, names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{title}: {', '.join(name or repr(name) for name in names[:most])}{more}" if names else ""
