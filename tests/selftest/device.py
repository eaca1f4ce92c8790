"""An engine whose arrays are not NumPy's, and refuse to be mixed with them, as CuPy's do."""

from __future__ import annotations

import operator

import numpy as np

from senumpy.engines import Engine


def unwrap(value):
    """Return the NumPy array inside; a NumPy array that comes from outside is refused."""
    if isinstance(value, Device):
        return value._array
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("a NumPy array among arrays of a device")
    if isinstance(value, tuple | list):
        return type(value)(unwrap(item) for item in value)
    return value


def wrap(value):
    return Device(value) if isinstance(value, np.ndarray | np.generic) else value


class Module:
    """NumPy's functions for arrays of the device. Only `asarray` takes what comes from outside."""

    def __getattr__(self, name):
        function = getattr(np, name)
        if name == "asarray":
            return lambda x, dtype=None: Device(np.asarray(getattr(x, "_array", x), dtype))
        if not callable(function) or isinstance(function, type):
            return function
        return lambda *args, **options: wrap(
            function(*map(unwrap, args), **{key: unwrap(value) for key, value in options.items()})
        )


class Device:
    """An array of the device; a reduction to one number stays an array, as in CuPy."""

    def __init__(self, array):
        self._array = np.asarray(array)

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    real = property(lambda self: Device(self._array.real))
    T = property(lambda self: Device(self._array.T))

    def __array_namespace__(self, api_version=None):
        return Module()

    def __array__(self, *args, **settings):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    __array_ufunc__ = None

    def __len__(self):
        return len(self._array)

    def __getitem__(self, key):
        return Device(self._array[unwrap(key)])

    def __setitem__(self, key, value):
        self._array[unwrap(key)] = unwrap(value)

    def __float__(self):
        return float(self._array)

    def __int__(self):
        return int(self._array)

    def __bool__(self):
        return bool(self._array)

    def __neg__(self):
        return Device(-self._array)

    def __invert__(self):
        return Device(~self._array)

    def transpose(self, *axes):
        return Device(self._array.transpose(*axes))

    def astype(self, dtype):
        return Device(self._array.astype(dtype))

    def reshape(self, *shape):
        return Device(self._array.reshape(*shape))

    def copy(self):
        return Device(self._array.copy())


def _give_operators():
    def binary(name):
        method = getattr(operator, name)
        return lambda self, other: wrap(method(self._array, unwrap(other)))

    def reflected(name):
        method = getattr(operator, name)
        return lambda self, other: wrap(method(unwrap(other), self._array))

    def in_place(name):
        def run(self, other):
            array = self._array
            getattr(operator, name)(array, unwrap(other))
            return self

        return run

    for name in ("add", "sub", "mul", "truediv", "pow", "matmul", "and_", "or_"):
        dunder = name.strip("_")
        setattr(Device, f"__{dunder}__", binary(name))
        setattr(Device, f"__r{dunder}__", reflected(name))
        setattr(Device, f"__i{dunder}__", in_place(f"i{dunder}"))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Device, f"__{name}__", binary(name))


_give_operators()


class DeviceEngine(Engine):
    """The operations as they stand, on arrays of the device."""

    name = "device"

    @staticmethod
    def asarray(array, dtype=None):
        return Module().asarray(array, dtype) if isinstance(array, Device) else Device(np.array(array, dtype))

    @staticmethod
    def to_numpy(array):
        assert isinstance(array, Device)
        return array._array

    @staticmethod
    def zeros(shape, dtype):
        return Device(np.zeros(tuple(shape), dtype))
