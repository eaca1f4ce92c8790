"""Python code that repeats one call of a candidate: to be pasted, with the call's numbers in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from senumpy.verify.calls import OpCall
from senumpy.verify.reproduce import names_and_imports


@dataclass(frozen=True)
class Setting:
    """How a candidate was given to `check`."""

    target: Any
    backward: Any
    framework: str | None
    options: dict[str, Any] | None
    label: str


def script(call: OpCall, dtype: str, setting: Setting) -> str:
    """Return Python code that makes `call` with the candidate and prints how it compares.

    Arrays are written out. Functions that can't be imported are left by name, for the session that has them.
    """
    targets = [setting.target, setting.backward]
    functions = [target if callable(target) else None for target in targets]
    names, imports = names_and_imports(*functions)
    names = [name if name.replace(".", "").isidentifier() else "candidate" for name in names]
    texts = [
        repr(target) if isinstance(target, str) else str(target) if function is None else name
        for target, function, name in zip(targets, functions, names, strict=True)
    ]
    lines = ["import numpy as np", *imports, "from senumpy.crosscheck import OpCall, check_call", ""]
    lines += [f"call = OpCall(\n    {call.op!r},\n    ("]
    lines += [
        f"        {_literal(value)},  # {name}" for name, value in zip(call.names, call.args, strict=True)
    ]
    lines += ["    ),", f"    {call.options!r},", f"    seed={call.seed},"]
    lines += [f"    layouts={call.layouts!r},"] if set(call.layouts) - {"C"} else []
    settings = [f"dtype={dtype!r}"]
    settings += [f"backward={texts[1]}"] if setting.backward is not None else []
    settings += [f"framework={setting.framework!r}"] if setting.framework else []
    settings += [f"options={setting.options!r}"] if setting.options else []
    lines += [")", f"print(check_call(call, {texts[0]}, {', '.join(settings)}))"]
    return "\n".join(lines)


def _literal(value: Any) -> str:
    if isinstance(value, np.ndarray):
        kind = "" if value.dtype.kind == "f" else f", {str(value.dtype)!r}"
        return f"np.array({value.tolist()!r}{kind})"
    if isinstance(value, tuple | list):
        return f"({', '.join(_literal(part) for part in value)},)"
    return repr(value)
