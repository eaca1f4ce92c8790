"""How to build somebody's module for a call: which parameter of its constructor is which size or option."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy.crosscheck.adapters.options import ALIASES, parameters, same_option
from senumpy.crosscheck.exchange import all_options, defaults
from senumpy.errors import InputError
from senumpy.verify.calls import MOMENTUM, OpCall
from senumpy.verify.cases import op_spec

_IN = (
    "in_channels",
    "input_channels",
    "in_features",
    "in_planes",
    "inplanes",
    "in_channel",
    "in_ch",
    "in_c",
    "in_dim",
    "input_dim",
    "c_in",
    "cin",
    "inp",
)
_ANY = (
    "channels",
    "channel",
    "num_features",
    "num_channels",
    "planes",
    "dim",
    "features",
    "chan",
    "chs",
    "nc",
    "c",
    "C",
)
_OUT = (
    "out_channels",
    "output_channels",
    "out_features",
    "out_planes",
    "outplanes",
    "out_channel",
    "out_ch",
    "out_c",
    "out_dim",
    "output_dim",
    "c_out",
    "cout",
    "outp",
    "oup",
    "filters",
    "units",
    "planes",
)
_HIDDEN = (
    "hidden",
    "hidden_channels",
    "hidden_features",
    "hidden_dim",
    "squeeze_channels",
    "rd_channels",
    "mid_channels",
    "mid_planes",
    "reduced_channels",
    "reduced_dim",
    "reduction_channels",
    "se_channels",
    "squeeze_planes",
    "bottleneck",
    "neck",
    "h",
)
_RATIO = (
    "reduction",
    "reduction_ratio",
    "r",
    "ratio",
    "rd_ratio",
    "se_ratio",
    "squeeze_ratio",
    "rate",
    "red",
)
_BIAS = (
    "bias",
    "use_bias",
    "with_bias",
)
_OUTPUT = ("output_size",)
_MOMENTUM = ("momentum",)
_CALL = "call"
_WORDS = (
    "gate",
    "squeeze",
    "operator",
)  # given only where they differ: frameworks name them in their own ways
_TWO = ("conv2d", "linear", "conv_bn_relu", "conv_bn_relu_inference")


class Constructor:
    """A class or function that builds a module, and how a call fills its parameters.

    Parameters
    ----------
    op : str
    make : callable
        The class, or a factory; one with a single required parameter ``call`` gets the `OpCall` itself.
    momentum : float
        What the framework calls the momentum that weighs a batch by 0.1.
    handled : tuple of str
        Options that the caller sees to, where the constructor has none.

    Raises
    ------
    InputError
        A required parameter has no meaning that is known.
    """

    def __init__(
        self, op: str, make: Callable[..., Any], momentum: float = MOMENTUM, handled: tuple[str, ...] = ()
    ) -> None:
        self.make, self._momentum, self._handled = make, momentum, handled
        self.known = {
            name: p
            for name, p in (parameters(make) or {}).items()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
        required = [name for name, p in self.known.items() if p.default is p.empty]
        self.factory = required == [_CALL]
        self._meaning = {} if self.factory else _meanings(op)
        missing = [name for name in required if name not in self._meaning]
        if missing and not self.factory:
            label = getattr(make, "__qualname__", str(make))
            raise InputError(
                f"{label}: nothing to fill its parameter {missing[0]!r} with for {op}; give a factory: "
                "a function make(call) that returns the module for a call"
            )

    def fixed(self, op: str) -> dict[str, Any]:
        """Return the options that can't be told to the constructor, at the operation's defaults."""
        if self.factory:
            return {}
        told = {self._meaning.get(name) for name in self.known} | set(self._handled)
        options = inspect.signature(op_spec(op).forward).parameters.values()
        return {
            p.name: p.default
            for p in options
            if p.kind is p.KEYWORD_ONLY and p.name not in told and p.default not in (p.empty, None)
        }

    def __call__(self, call: OpCall) -> Any:
        """Return a factory's module for a call."""
        return self.make(call)

    def build(self, arguments: dict[str, Any]) -> Any:
        """Return a new module of these arguments, those of `fill` or nearly."""
        return self.make(**arguments)

    def fill(self, call: OpCall) -> tuple[dict[str, Any], str]:
        """Return the constructor's arguments for a call, and why there are none (empty where there are)."""
        if self.factory:
            return {}, ""
        values = self._sizes(call)
        reason = self._add_options(call, values)
        if reason:
            return {}, reason
        hidden = any(self._meaning.get(name) == "hidden" for name in self.known)
        given: dict[str, Any] = {}
        seen: set[str] = set()
        for name, p in self.known.items():
            meaning = self._meaning.get(name)
            if meaning not in values or (meaning in seen and p.default is not p.empty):
                continue
            seen.add(meaning)
            if meaning != "ratio":
                given[name] = values[meaning]
            elif p.default is p.empty or not hidden:  # one of the two says it all
                ratio = self._ratio(name, *values["ratio"])
                if ratio is None:
                    return {}, "no {} takes {} channels to {}".format(name, *values["ratio"])
                given[name] = ratio
        return given, ""

    def _add_options(self, call: OpCall, values: dict[str, Any]) -> str:
        """Add the options to the values, or return why the constructor can't be told one."""
        standard = defaults(call)
        meant = {self._meaning.get(name): p for name, p in self.known.items()}
        for option, value in all_options(call).items():
            default = standard[option]
            if isinstance(value, np.random.Generator):
                if call.options.get("p", 0.5) != 0:
                    return "it draws its own random numbers: results can't be compared"
            elif option not in meant:
                if option not in self._handled and option in call.options and not _same(value, default):
                    return f"its constructor has no {option}, which is {value!r} here"
            elif option not in _WORDS or value != default or meant[option].default is inspect.Parameter.empty:
                values[option] = _number(value)
        return ""

    def _ratio(self, name: str, channels: int, hidden: int) -> float | None:
        """Return the ratio that leads to `hidden` channels: a divisor, a fraction if its default is one."""
        default = self.known[name].default
        if isinstance(default, float) and default < 1:
            return hidden / channels
        ratio = channels // hidden
        return ratio if ratio and channels // ratio == hidden else None

    def _sizes(self, call: OpCall) -> dict[str, Any]:
        named = dict(zip(call.names, call.args, strict=True))
        sizes: dict[str, Any] = {"output": 1}
        if call.op in _TWO:
            sizes["out"], per_group = named["w"].shape[:2]
            sizes["in"] = per_group * call.options.get("groups", 1)
        else:
            first = next(iter(named.values()))
            parts = first if isinstance(first, tuple | list) else (first,)
            sizes["in"] = sum(part.shape[1] for part in parts) if parts[0].ndim > 1 else parts[0].size
        if named.get("w1") is not None:
            sizes["hidden"] = named["w1"].shape[0]
            sizes["ratio"] = (sizes["in"], sizes["hidden"])
        if "w" in named or "w1" in named:
            sizes["bias"] = any(named.get(bias) is not None for bias in ("b", "b1", "b2"))
        if call.op == "batchnorm2d":
            sizes["momentum"] = self._momentum
        if call.op.startswith("conv"):
            sizes["kernel"] = _number(named["w"].shape[2:])
        return sizes


def _meanings(op: str) -> dict[str, str]:
    """Return what each name of a constructor's parameter means for an operation."""
    names = op_spec(op).arguments
    found: dict[str, str] = dict.fromkeys(_IN, "in")
    if op in _TWO:
        found |= dict.fromkeys(_OUT, "out")
    else:
        found |= dict.fromkeys(_ANY, "in")
    if "w1" in names:
        found |= dict.fromkeys(_HIDDEN, "hidden") | dict.fromkeys(_RATIO, "ratio")
    if "w" in names or "w1" in names:
        found |= dict.fromkeys(_BIAS, "bias")
    if op == "batchnorm2d":
        found |= dict.fromkeys(_MOMENTUM, "momentum")
    if op in ("global_avg_pool", "global_max_pool", "squeeze"):
        found |= dict.fromkeys(_OUTPUT, "output")
    forward = inspect.signature(op_spec(op).forward).parameters.values()
    for p in forward:
        if p.kind is p.KEYWORD_ONLY:
            found |= dict.fromkeys((p.name, *ALIASES.get(p.name, ())), p.name)
    if op in ("conv2d", "conv_bn_relu", "conv_bn_relu_inference"):
        found |= dict.fromkeys(("kernel", *ALIASES["kernel"]), "kernel")
    return found


def _number(value: Any) -> Any:
    """Return a pair of equal numbers as one: many constructors know no pairs."""
    return value[0] if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1] else value


def _same(a: Any, b: Any) -> bool:
    return a is b or (b is not inspect.Parameter.empty and same_option(a, b))
