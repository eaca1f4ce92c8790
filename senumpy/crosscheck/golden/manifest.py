"""What stands in ``manifest.json`` and ``index.tsv`` of a golden folder, and how a manifest is read."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np

from senumpy import __version__
from senumpy.crosscheck.golden import conventions
from senumpy.crosscheck.golden.cases import GoldenCase
from senumpy.errors import InputError
from senumpy.storage.header import read_header
from senumpy.verify import rounding
from senumpy.verify.cases import OPS

FORMAT, VERSION = "senumpy golden", 1
MANIFEST, INDEX, UNFINISHED = "manifest.json", "index.tsv", "UNFINISHED"

_FILE = {
    "file": str,
    "bytes": int,
    "sha256": str,
    "tensors": [{"name": str, "dtype": str, "shape": [int], "offset": int, "bytes": int}],
}
_CASE = {
    "name": str,
    "op": str,
    "note": str,
    "dtype": str,
    "seed": int,
    "arguments": [{"name": str, "tensors": [str]}],
    "options": {},
    "conventions": [str],
    "call": _FILE,
    "results": _FILE,
    "judged": [str],
    "tolerance": {"longest_sum": int, "unit_roundoff": float, "delta": float, "results": {}},
}
_SCHEMA = {
    "format": str,
    "version": int,
    "producer": {"name": str, "version": str},
    "seed": int,
    "conventions": {},
    "tolerance": {"meaning": str, "derivation": [str], "constants": {}},
    "index": {"file": str, "bytes": int, "sha256": str},
    "cases": [_CASE],
}
_TYPES = {str: "a text", int: "a whole number", float: "a number", dict: "an object", list: "a list"}


def file_entry(folder: Path, name: str) -> dict[str, Any]:
    """Describe a safetensors file of a folder: size, hash, and where each tensor's numbers lie in it."""
    data = (folder / name).read_bytes()
    return {
        "file": name,
        "bytes": len(data),
        "sha256": sha256(data),
        "tensors": tensor_entries(folder / name),
    }


def tensor_entries(path: Path) -> list[dict[str, Any]]:
    """Describe the tensors of a safetensors file: dtype, shape, and where in the file their numbers lie."""
    header = read_header(path)
    return [
        {
            "name": tensor,
            "dtype": entry["dtype"],
            "shape": entry["shape"],
            "offset": header.start + entry["data_offsets"][0],
            "bytes": entry["data_offsets"][1] - entry["data_offsets"][0],
        }
        for tensor, entry in header.entries.items()
    ]


def case_entry(
    case: GoldenCase, options: dict[str, Any], call: dict[str, Any], results: dict[str, Any]
) -> dict[str, Any]:
    """Describe a case, of whose two files the descriptions are given."""
    expectation = case.expectation
    judged = [n for n in case.results if not (expectation.near_kink and n.startswith("d"))]
    largest = {name: float(np.abs(array).max(initial=0)) for name, array in case.results.items()}
    return {
        "name": case.name,
        "op": case.op,
        "note": case.call.note,
        "dtype": case.dtype.name,
        "seed": case.call.seed,
        "arguments": [
            {"name": name, "tensors": [t["name"] for t in call["tensors"] if t["name"].split("[")[0] == name]}
            for name in case.call.names
        ],
        "options": options,
        "conventions": conventions.conventions(case.op),
        "call": call,
        "results": results,
        "judged": judged,
        "tolerance": {
            "longest_sum": expectation.length,
            "unit_roundoff": rounding.roundoff(case.dtype),
            "delta": expectation.delta,
            "results": {
                name: {
                    "bound": _up(expectation.bound(name)),
                    "spread": _up(expectation.spread[name]),
                    "largest": _up(largest[name]),
                }
                for name in case.results
            },
        },
    }


def manifest_of(cases: Sequence[dict[str, Any]], index: bytes, seed: int) -> dict[str, Any]:
    """Return the whole manifest. Nothing in it depends on time, machine or path."""
    used = {name for case in cases for name in case["conventions"]}
    constants = {
        name: value
        for name, value in vars(rounding).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, int | float)
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "producer": {"name": "senumpy", "version": __version__},
        "seed": seed,
        "conventions": {name: text for name, text in conventions.TEXTS.items() if name in used},
        "tolerance": {
            "meaning": (
                "an entry of a result is accurate where |got - want| <= bound; exact where it is the wanted "
                "number rounded to the dtype, which is what the files hold. Per result: spread and largest, "
                "max|want|, of which bound is made; all three are rounded up to three digits"
            ),
            "derivation": inspect.cleandoc(rounding.__doc__ or "").splitlines(),
            "constants": constants,
        },
        "index": {"file": INDEX, "bytes": len(index), "sha256": sha256(index)},
        "cases": list(cases),
    }


def index_of(cases: Sequence[dict[str, Any]]) -> bytes:
    """Return the manifest's essence as lines of fields between tabs, for readers that have no JSON."""
    lines = [["format", FORMAT, str(VERSION)]]
    for case in cases:
        name = case["name"]
        lines.append(["case", name, case["op"], case["dtype"]])
        lines += [["option", name, key, *_words(value)] for key, value in case["options"].items()]
        for role in ("call", "results"):
            for tensor in case[role]["tensors"]:
                shape = ",".join(map(str, tensor["shape"])) or "-"
                judged = role == "results" and tensor["name"] in case["judged"]
                bound = repr(case["tolerance"]["results"][tensor["name"]]["bound"]) if judged else "-"
                place = [case[role]["file"], str(tensor["offset"]), str(tensor["bytes"])]
                lines.append([role, name, tensor["name"], tensor["dtype"], shape, *place, bound])
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def encoded(manifest: dict[str, Any]) -> bytes:
    """Return the manifest as JSON text, always the same for the same content."""
    return (json.dumps(manifest, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check ``manifest.json`` of a golden folder.

    Raises
    ------
    InputError
        It can't be read, is no JSON, has another format or version; a field is missing or has a wrong type.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not JSON ({error}); write the set again with `senumpy golden write`"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"{path}: field format: found {found!r}, wanted {FORMAT!r}")
    if manifest.get("version") != VERSION:
        raise InputError(
            f"{path}: field version: found {manifest.get('version')!r}, wanted {VERSION}; "
            "it was written by another senumpy: write it again, or use that one"
        )
    _check(manifest, _SCHEMA, str(path), "")
    _check_cases(manifest["cases"], str(path))
    return manifest


def _check(value: Any, schema: Any, where: str, field: str) -> None:
    kind = schema if isinstance(schema, type) else type(schema)
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or (isinstance(value, bool) and kind in (int, float)):
        raise InputError(f"{where}: field {field}: found {_shown(value)}, wanted {_TYPES[kind]}")
    if isinstance(schema, dict):
        for name, part in schema.items():
            inner = f"{field}.{name}" if field else name
            if name not in value:
                raise InputError(f"{where}: field {inner} is missing")
            _check(value[name], part, where, inner)
    elif isinstance(schema, list):
        for position, item in enumerate(value):
            _check(item, schema[0], where, f"{field}[{position}]")


def _check_cases(cases: list[dict[str, Any]], where: str) -> None:
    names = set()
    for position, case in enumerate(cases):
        field, name = f"cases[{position}]", case["name"]
        wanted: dict[str, tuple[Any, list[Any]]] = {
            "op": (case["op"], list(OPS)),
            "dtype": (case["dtype"], ["float64", "float32"]),
            "call.file": (case["call"]["file"], [f"calls/{name}.safetensors"]),
            "results.file": (case["results"]["file"], [f"results/{name}.safetensors"]),
        }
        for inner, (found, allowed) in wanted.items():
            if found not in allowed:
                text = repr(allowed[0]) if len(allowed) == 1 else f"one of {', '.join(allowed)}"
                raise InputError(f"{where}: field {field}.{inner}: found {_shown(found)}, wanted {text}")
        if name in names:
            raise InputError(f"{where}: field {field}.name: {name!r} stands twice, wanted once")
        if not name or any(c not in "abcdefghijklmnopqrstuvwxyz0123456789_-" for c in name):
            raise InputError(
                f"{where}: field {field}.name: found {_shown(name)}, wanted letters, digits, _ and -"
            )
        names.add(name)


def sha256(data: bytes) -> str:
    """Return the hash of some bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _words(value: Any) -> list[str]:
    """Return an option's value as texts: a list's items, true and false as 1 and 0, numbers in full."""
    items = value if isinstance(value, list) else [value]
    return [str(int(item)) if isinstance(item, bool) else str(item) for item in items]


def _up(value: float) -> float:
    """Round up to three digits: so that what a machine's last bits are does not show."""
    if value == 0.0:
        return 0.0
    number = Decimal(value)
    return float(number.quantize(Decimal((0, (1,), number.adjusted() - 2)), rounding=ROUND_UP))
