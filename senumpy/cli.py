"""The command line: arguments, printing and exit status; what is done stands below, in the package.

Exit status: 0 done, 1 a check did not hold, 2 bad usage or bad input (one line on stderr), 130 Ctrl-C.
Imports that take time are inside the commands: `senumpy --help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from senumpy import __version__
from senumpy.errors import InputError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


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
    except (InputError, OSError, MemoryError) as error:
        if arguments.debug:
            raise
        print(f"senumpy: {_one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    return status


def _one_line(error: BaseException) -> str:
    text = str(error) or ("not enough memory" if isinstance(error, MemoryError) else type(error).__name__)
    return " ".join(text.split())


# -- commands --------------------------------------------------------------------------------------------


def _train(arguments: argparse.Namespace) -> int:
    from senumpy.training import TrainConfig, resume_run, start_run

    names = TrainConfig.__dataclass_fields__
    settings = {name: value for name, value in vars(arguments).items() if name in names}
    quiet = arguments.quiet
    if arguments.resume is None:
        summary = start_run(settings, out=arguments.out, quiet=quiet)
    else:
        workers = settings.pop("workers", None)
        if settings or arguments.out:
            given = next(iter(settings), "out").replace("_", "-")
            raise InputError(
                f"--{given} cannot be given with --resume: a run goes on with the settings in its config.toml"
            )
        summary = resume_run(arguments.resume, workers=workers, quiet=quiet)
    if arguments.json:
        _print_json(summary.to_dict())
    else:
        print(summary)
    return DONE


def _eval(arguments: argparse.Namespace) -> int:
    from senumpy.training import evaluate_checkpoint

    evaluation = evaluate_checkpoint(
        arguments.weights,
        data=arguments.data,
        engine=arguments.engine,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        crops=arguments.crops,
    )
    return _report(evaluation, arguments.json)


def _info(arguments: argparse.Namespace) -> int:
    from senumpy.analysis import complexity

    cost = complexity(
        arguments.model,
        size=arguments.input_size,
        num_classes=arguments.classes,
        in_channels=arguments.channels,
    )
    return _report(cost, arguments.json)


def _gradcheck(arguments: argparse.Namespace) -> int:
    from senumpy.verify import check_file, check_op, op_names

    files = [target for target in arguments.targets if ":" in target]
    if files and (len(arguments.targets) > 1 or arguments.like is None):
        raise InputError("a file is checked alone, as FILE.py:FORWARD,BACKWARD --like OP")
    if arguments.like is not None and not files:
        raise InputError("--like goes with a file: FILE.py:FORWARD,BACKWARD --like OP")
    if files:
        report = check_file(files[0], arguments.like, seed=arguments.seed)
        _report(report, arguments.json)
        return DONE if report.ok else FAILED
    names = arguments.targets or op_names()
    return _check_ops(names, arguments, check_op)


def _check_ops(names: Sequence[str], arguments: argparse.Namespace, check_op: Any) -> int:
    """Print a row as soon as it is known, and the reasons of what failed at the end."""
    from senumpy.verify import op_spec

    for name in names:
        op_spec(name)  # all names are right before the first is checked
    rows = []
    for number, name in enumerate(names):
        row = check_op(name, seed=arguments.seed)
        rows.append(row)
        if not arguments.json:
            heading, line = str(row).splitlines()
            print(line if number else f"{heading}\n{line}", flush=True)
    failed = [row for row in rows if not row.ok]
    if arguments.json:
        _print_json({"ok": not failed, "seed": arguments.seed, "operations": [row.to_dict() for row in rows]})
    else:
        for row in failed:
            for reason in row.reasons:
                print(f"{row.op}, {reason}")
    return FAILED if failed else DONE


def _bench(arguments: argparse.Namespace) -> int:
    from senumpy import bench
    from senumpy.engines.cores import default_threads

    threads = arguments.threads or default_threads()
    if arguments.plot is not None and not arguments.plot.parent.is_dir():
        raise InputError(f"--plot: no folder {arguments.plot.parent}")
    if arguments.plot is not None and arguments.plot.suffix.lower() != ".png":
        raise InputError(f"--plot: got {arguments.plot.name}, wanted a name that ends in .png")
    bench.check_settings(arguments.cases, arguments.engine, arguments.repeats)  # before anything is measured
    quiet = arguments.json
    with _status_line() as progress:
        progress("the machine's limits")
        limits = bench.measure_limits(threads)
        machine = bench.machine(threads, limits)
        if not quiet:
            print("\n".join([*bench.machine_lines(machine), "", bench.HEADER]), flush=True)

        def show(row: Any) -> None:
            progress("")
            if not quiet:
                print("\n".join(bench.lines(row, limits)), flush=True)

        rows = bench.run(
            arguments.cases,
            engine_name=arguments.engine,
            threads=threads,
            repeats=arguments.repeats,
            progress=progress,
            report=show,
        )
    if quiet:
        settings = {"engine": arguments.engine or bench.default_engine(), "repeats": arguments.repeats}
        _print_json({"machine": machine, **settings, "rows": [row.to_dict() for row in rows]})
    if arguments.plot is not None:
        arguments.plot.write_bytes(bench.draw_ratios(rows))
    return DONE


@contextmanager
def _status_line() -> Iterator[Callable[[str], None]]:
    """Give a function that shows what is being done on one line of the terminal; nothing in a file."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda text: None
        return
    terminal = sys.stderr.isatty()
    with tqdm(bar_format="{desc}", leave=False, disable=not terminal) as bar:
        yield bar.set_description_str


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number of at least 1")
    return int(text)


def _report(report: Any, as_json: bool) -> int:
    if as_json:
        _print_json(report.to_dict())
    else:
        print(report)
    return DONE


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


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
    commands = parser.add_subparsers(prog="senumpy", title="commands", metavar="COMMAND ...", required=True)
    _add_train(commands)
    _add_eval(commands)
    _add_info(commands)
    _add_gradcheck(commands)
    _add_bench(commands)
    return parser


def _command(
    commands: Any, name: str, run: Any, help_: str, description: str = ""
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help_, description=description or f"{help_[0].upper()}{help_[1:]}."
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_train(commands: Any) -> None:
    parser = _command(
        commands,
        "train",
        _train,
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
    add("--checkpoint-minutes", type=float, metavar="T", help="save within an epoch this often (5)", **unset)
    folder = parser.add_mutually_exclusive_group()
    folder.add_argument("--out", type=Path, metavar="DIR", help="run folder (runs/DATA-MODEL-NNN)")
    folder.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    add("--quiet", action="store_true", help="show no progress")


def _add_eval(commands: Any) -> None:
    parser = _command(
        commands,
        "eval",
        _eval,
        "evaluate a trained network on its test set, or another",
        "Print top-1 and top-5 accuracy and loss on the test images.",
    )
    parser.add_argument(
        "weights", type=Path, metavar="RUN_OR_WEIGHTS", help="run folder, or its checkpoint.safetensors"
    )
    parser.add_argument("--data", metavar="NAME_OR_PATH", help="another data set with as many classes")
    parser.add_argument("--engine", metavar="NAME", help="who computes (as in training)")
    parser.add_argument(
        "--batch-size", type=int, default=128, metavar="N", help="images at a time (%(default)s)"
    )
    parser.add_argument(
        "--crops", type=int, choices=(1, 10), default=1, help="10: centre, corners, mirrored (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads that read (%(default)s)")


def _add_info(commands: Any) -> None:
    parser = _command(commands, "info", _info, "count parameters and multiply-adds, layer by layer")
    parser.add_argument("model", metavar="MODEL", help="network, such as se_resnet50")
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the images (as published)")
    parser.add_argument("--classes", type=int, metavar="N", help="number of classes (as published)")
    parser.add_argument("--channels", type=int, default=3, metavar="N", help="of the images (%(default)s)")


def _add_gradcheck(commands: Any) -> None:
    parser = _command(
        commands,
        "gradcheck",
        _gradcheck,
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


def _add_bench(commands: Any) -> None:
    parser = _command(commands, "bench", _bench, "measure speed and memory of operations and networks")
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help="train, inference, cost, ladder, op, or part of a name (all)",
    )
    parser.add_argument("--engine", metavar="NAME", help="who computes (numba where installed, else numpy)")
    parser.add_argument(
        "--threads",
        type=_threads,
        metavar="N",
        help="threads of all libraries (SENUMPY_NUM_THREADS, or all cores)",
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="the median counts (%(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios as a bar chart, PNG")


if __name__ == "__main__":
    sys.exit(main())
