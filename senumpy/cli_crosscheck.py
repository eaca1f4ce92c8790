"""Arguments of `senumpy crosscheck` and `senumpy golden`; what they do is in `commands_crosscheck.py`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from senumpy import commands_crosscheck as commands

Command = Callable[..., argparse.ArgumentParser]

_CROSSCHECK = """\
Hold an implementation against the reference, forward and backward, and name the mistake. TARGET is
module:function or file.py:function on NumPy arrays (its gradients with --backward), a PyTorch function,
module or class of modules, a JAX function, a Keras layer, FILE.onnx, or "cmd:PROGRAM ARGUMENT ...". For a
whole network: senumpy crosscheck model --torch module:net --like se_resnet50. Exit status 1 when anything is
wrong."""


def add_commands(parsers: Any, command: Command) -> None:
    """Add both commands."""
    _add_crosscheck(parsers, command)
    _add_golden(parsers, command)


def _add_crosscheck(parsers: Any, command: Command) -> None:
    parser = command(
        parsers,
        "crosscheck",
        commands.crosscheck,
        "hold an implementation of anybody's against the reference",
        _CROSSCHECK,
    )
    add = parser.add_argument
    add("op", metavar="OP", help="operation, such as conv2d or squeeze_excite; or: model")
    add("target", nargs="?", metavar="TARGET", help="the implementation; none for model")
    add("--backward", metavar="TARGET", help="function backward(dy, cache) of a NumPy pair")
    add("--framework", metavar="NAME", help="numpy, torch, jax, keras, tensorflow (found out)")
    add("--option", action="append", metavar="NAME=VALUE", help="that is built in, such as stride=2 (repeat)")
    add("--dtype", action="append", choices=("float32", "float64"), help="of the calls (both)")
    add("--accept", choices=("accurate", "lossy"), help="worst that passes (accurate)")
    add("--c-order", action="store_true", help="hand over arrays in C order only")
    add("--max-examples", type=int, metavar="N", help="calls to try (200)")
    add("--seconds", type=float, metavar="T", help="stop after this long")
    add(
        "--timeout",
        type=float,
        metavar="T",
        help="seconds for one call, compiling included (10), or for a model",
    )
    add("--seed", type=int, default=0, metavar="N", help="draws the calls (%(default)s)")
    add("--junit", type=Path, metavar="FILE", help="write the result as JUnit XML there, too")
    whole = parser.add_argument_group("whole models")
    add = whole.add_argument
    add("--torch", metavar="TARGET", help="module:net, a Module, or what makes one")
    add("--onnx", type=Path, metavar="FILE", help="ONNX file: forward, tensor by tensor")
    add("--like", metavar="NAME", help="the network that it is meant to be")
    add("--input-size", type=int, metavar="PIXELS", help="side of the images (64; an ONNX file's own)")
    add("--batch-size", type=int, metavar="N", help="images (2; an ONNX file's own)")
    add("--eval", action="store_true", help="in evaluation, with running statistics")
    add("--steps", type=int, metavar="K", help="train K steps, and compare all that changes")
    add("--optimizer", metavar="TARGET", help="makes a torch.optim optimiser of parameters (SGD)")
    add("--lr", type=float, default=0.1, metavar="LR", help="of the reference's SGD (%(default)s)")
    add("--momentum", type=float, default=0.9, metavar="M", help="of the reference's SGD (%(default)s)")
    add("--weight-decay", type=float, default=1e-4, metavar="D", help="of the reference's SGD (%(default)s)")
    add("--nesterov", action="store_true", help="Nesterov's momentum in the reference's SGD")


def _add_golden(parsers: Any, command: Command) -> None:
    parser = parsers.add_parser(
        "golden",
        help="write test vectors for other languages, or judge answers",
        description="Write inputs, upstream gradients, results and gradients of every operation as files "
        "that need no Python to read, or judge the answers that a program of yours gave to them.",
    )
    actions = parser.add_subparsers(prog="senumpy golden", title="actions", metavar="ACTION", required=True)
    write = command(actions, "write", commands.golden_write, "write golden vectors")
    write.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder, new or of golden vectors"
    )
    write.add_argument("--ops", nargs="+", default=["all"], metavar="OP", help="operations (%(default)s)")
    write.add_argument("--seed", type=int, default=0, metavar="N", help="draws the calls (%(default)s)")
    check = command(actions, "check", commands.golden_check, "judge a folder of answers")
    check.add_argument("folder", type=Path, metavar="DIR", help="of answers, or of golden vectors")
    check.add_argument("--seed", type=int, default=0, metavar="N", help="drew the calls (%(default)s)")
    check.add_argument(
        "--accept", choices=("accurate", "lossy"), default="accurate", help="worst that passes (%(default)s)"
    )
    check.add_argument(
        "--against", type=Path, metavar="GOLDEN", help="the vectors that were answered (made again)"
    )
