"""The command line: arguments and exit status; the commands are in `commands.py`.

Exit status: 0 done, 1 a check did not hold, 2 bad usage or bad input (one line on stderr), 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from senumpy import __version__, cli_course, cli_coursework, cli_crosscheck, cli_lessons, commands
from senumpy.commands import BAD_INPUT, DONE, INTERRUPTED

_WEIGHTS = "weights: .safetensors, or PyTorch's .pth, .th, .bin"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()  # so that a closed pipe is noticed here
    except BrokenPipeError:
        # The reader (head, less) has enough. Python would complain when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt as error:
        print(f"senumpy: {str(error) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, MemoryError) as error:  # InputError is a ValueError; operations raise others
        if arguments.debug:
            raise
        print(f"senumpy: {_one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    return status


def _one_line(error: BaseException) -> str:
    text = str(error) or ("not enough memory" if isinstance(error, MemoryError) else type(error).__name__)
    return " ".join(text.split())


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number of at least 1")
    return int(text)


# -- arguments -------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any):
        super().__init__(
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28), **settings
        )

    def error(self, message: str) -> NoReturn:
        """Refuse in one line; the usage text would bury it."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="senumpy",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Squeeze-and-Excitation Networks in NumPy: train, evaluate, inspect, check gradients.",
        epilog="exit status: 0 done, 1 a check did not hold, 2 bad usage or bad input, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"senumpy {__version__}")
    # argparse aligns the names below with this metavar; a shorter one would push the longest off its line
    parsers = parser.add_subparsers(prog="senumpy", title="commands", metavar="COMMAND [...]", required=True)
    _add_train(parsers)
    _add_eval(parsers)
    _add_info(parsers)
    _add_predict(parsers)
    _add_export(parsers)
    _add_experiment(parsers)
    _add_gradcheck(parsers)
    cli_crosscheck.add_commands(parsers, _command)
    cli_coursework.add_commands(parsers, _command)
    cli_course.add_commands(parsers, _command)
    _add_selftest(parsers)
    _add_bench(parsers)
    cli_lessons.add_commands(parsers, _command)
    return parser


def _command(parsers: Any, name: str, run: Any, help_: str, description: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = parsers.add_parser(
        name, help=help_, description=description or f"{help_[0].upper()}{help_[1:]}."
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_train(parsers: Any) -> None:
    parser = _command(
        parsers,
        "train",
        commands.train,
        "train a network on images",
        "Train a network. Without arguments: a small SE-ResNet on the 1,797 handwritten digits that come "
        "with scikit-learn, in under a minute. What is not given is chosen to fit the data.",
    )
    # A setting that isn't given is left out of the namespace: its default depends on the data.
    add = parser.add_argument
    unset: dict[str, Any] = {"default": argparse.SUPPRESS}
    add("--data", metavar="NAME_OR_PATH", help="data set: a name, or a file or folder (digits)", **unset)
    add("--model", metavar="NAME", help="network, such as se_resnet20_cifar", **unset)
    add("--engine", metavar="NAME", help="who computes (numba where installed, else numpy)", **unset)
    add("--epochs", type=int, metavar="N", help="passes over the training images", **unset)
    add("--batch-size", type=int, metavar="N", help="images in an update", **unset)
    add("--lr", type=float, metavar="LR", help="highest learning rate (in proportion to the batch)", **unset)
    add("--schedule", metavar="NAME", help="constant, cosine or step (cosine)", **unset)
    add("--warmup-epochs", type=float, metavar="N", help="linear warm-up of the learning rate (1)", **unset)
    add("--momentum", type=float, metavar="M", help="of SGD (0.9)", **unset)
    add("--nesterov", action="store_true", help="Nesterov's momentum", **unset)
    add("--weight-decay", type=float, metavar="D", help="of weights, not of batch norm and biases", **unset)
    add("--decay-all", action="store_true", help="decay batch norm and biases too", **unset)
    add("--label-smoothing", type=float, metavar="E", help="of the training targets (0)", **unset)
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        help="random crops and flips (where they keep the class)",
        **unset,
    )
    add("--image-size", type=int, metavar="PIXELS", help="resize images to a square", **unset)
    add("--seed", type=int, metavar="N", help="of weights, order and augmentation (0)", **unset)
    add(
        "--workers",
        type=int,
        metavar="N",
        help="threads that prepare batches (2; 0 for data in memory)",
        **unset,
    )
    add(
        "--threads",
        type=int,
        metavar="N",
        help="threads of numba (all cores), or of matrix products (1 for small images)",
        **unset,
    )
    _add_device(parser, **unset)
    add("--deterministic", action="store_true", help="on a GPU: the same bits each time", **unset)
    add("--checkpoint-minutes", type=float, metavar="T", help="save within an epoch this often (5)", **unset)
    folder = parser.add_mutually_exclusive_group()
    folder.add_argument("--out", type=Path, metavar="DIR", help="run folder (runs/DATA-MODEL-NNN)")
    folder.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    add("--quiet", action="store_true", help="show no progress")


def _add_device(parser: argparse.ArgumentParser, **settings: Any) -> None:
    """Add the options of an engine for a GPU."""
    add = parser.add_argument
    add("--device", type=int, metavar="N", help="which GPU, for the engine cupy (0)", **settings)
    add(
        "--precision",
        choices=("float32", "tf32"),
        help="of matrix products on a GPU; tf32: by tensor cores, 10 bits of mantissa",
        **settings,
    )


def _add_eval(parsers: Any) -> None:
    parser = _command(
        parsers,
        "eval",
        commands.eval,
        "evaluate a trained network on its test set, or another",
        "Print top-1 and top-5 accuracy and loss on the test images.",
    )
    parser.add_argument(
        "weights", type=Path, metavar="RUN_OR_WEIGHTS", help=f"run folder, its checkpoint, or {_WEIGHTS}"
    )
    parser.add_argument(
        "--data", metavar="NAME_OR_PATH", help="data set with as many classes (that of the run)"
    )
    parser.add_argument("--engine", metavar="NAME", help="who computes (as in training)")
    _add_device(parser)
    parser.add_argument(
        "--batch-size", type=int, default=128, metavar="N", help="images at a time (%(default)s)"
    )
    parser.add_argument(
        "--crops", type=int, choices=(1, 10), default=1, help="10: centre, corners, mirrored (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads that read (%(default)s)")


def _add_info(parsers: Any) -> None:
    parser = _command(parsers, "info", commands.info, "count parameters and multiply-adds, layer by layer")
    parser.add_argument("model", metavar="MODEL", help="network, such as se_resnet50")
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the images (as published)")
    parser.add_argument("--classes", type=int, metavar="N", help="number of classes (as published)")
    parser.add_argument("--channels", type=int, default=3, metavar="N", help="of the images (%(default)s)")


def _add_predict(parsers: Any) -> None:
    parser = _command(
        parsers,
        "predict",
        commands.predict,
        "classify images, and show what SE does",
        "Print the five likeliest classes of each image, and the weakest and strongest gates of each SE "
        "block.",
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help=_WEIGHTS)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes, one a line")
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the crop (as published)")
    parser.add_argument("--engine", metavar="NAME", default="numpy", help="who computes (%(default)s)")
    _add_device(parser)


def _add_export(parsers: Any) -> None:
    parser = _command(
        parsers,
        "export",
        commands.export,
        "write weights as safetensors or ONNX",
        "Write a network's weights as safetensors, or the network as an ONNX graph. With --names twin the "
        "tensors have the names and shapes of the network of timm or torchvision that computes the same.",
    )
    parser.add_argument("weights", type=Path, metavar="RUN_OR_WEIGHTS", help=f"run folder, or {_WEIGHTS}")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FILE", help="ends in .safetensors or .onnx"
    )
    parser.add_argument(
        "--names", choices=("senumpy", "twin"), default="senumpy", help="of tensors (%(default)s)"
    )
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the ONNX graph's images")


def _add_experiment(parsers: Any) -> None:
    parser = _command(
        parsers,
        "experiment",
        commands.experiment,
        "repeat an experiment of the paper",
        "complexity: the paper's tables of parameters and multiply-adds beside what is counted here.",
    )
    parser.add_argument("name", choices=("complexity",), metavar="NAME", help="complexity")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write Markdown and CSV there")


def _add_gradcheck(parsers: Any) -> None:
    parser = _command(
        parsers,
        "gradcheck",
        commands.gradcheck,
        "check gradients against the complex step and differences",
        "Check the library's own operations (all of them without arguments), or a forward and a backward of "
        "your own. Exit status 1 when a gradient is wrong.",
    )
    parser.add_argument(
        "targets", nargs="*", metavar="OP", help="operation, or FILE.py:FORWARD,BACKWARD with --like OP"
    )
    parser.add_argument(
        "--like", metavar="OP", help="operation that the functions in FILE.py are meant to do"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="draws cases and gradients (%(default)s)"
    )


def _add_selftest(parsers: Any) -> None:
    parser = _command(
        parsers,
        "selftest",
        commands.selftest,
        "check an engine on this machine",
        "Check everything that an engine promises, on this processor or GPU, and say what was left out: "
        "results, gradients, special values, refusals, networks. Needs NumPy and the engine, nothing else. "
        "Exit status 1 when anything did not hold.",
    )
    add = parser.add_argument
    add("ops", nargs="*", metavar="OP", help="operation (all of them, helpers and networks)")
    add("--engine", metavar="NAME", help="who computes (numba where installed, else numpy)")
    _add_device(parser)
    add("--seed", type=int, default=0, metavar="N", help="draws the cases (%(default)s)")
    add("--draws", type=int, metavar="N", help="how many seeds draw cases (2; 1 with --quick)")
    add("--quick", action="store_true", help="fewer larger cases and gradient checks, one network")
    add("--out", type=Path, metavar="FILE", help="write the result as JSON there, too")


def _add_bench(parsers: Any) -> None:
    parser = _command(
        parsers,
        "bench",
        commands.bench,
        "measure speed and memory of operations and networks",
        "Measure speed and memory beside PyTorch and ONNX Runtime; or, with --engine cupy, on a GPU beside "
        "PyTorch: copy, kernels, train, inference, cost, memory, cifar, deterministic, crossover.",
    )
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help="train, inference, cost, ladder, op, or part of a name; see above for a GPU (all)",
    )
    parser.add_argument(
        "--models", action="store_true", help="images/s of each family of networks, and what SE costs in it"
    )
    parser.add_argument("--engine", metavar="NAME", help="who computes (numba where installed, else numpy)")
    parser.add_argument(
        "--threads",
        type=_threads,
        metavar="N",
        help="threads of all libraries (SENUMPY_NUM_THREADS, or all cores)",
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="the median counts (%(default)s)")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the ratios, or a GPU's crossover, as PNG"
    )
    parser.add_argument("--device", type=int, metavar="N", help="which GPU, for the engine cupy (0)")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="images of a network's batch on a GPU (256)"
    )


if __name__ == "__main__":
    sys.exit(main())
