"""What the commands do: arguments in, a report printed, an exit status out; the work is done in the package.

Imports that take time are inside the commands: `senumpy --help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from senumpy.errors import InputError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def train(arguments: argparse.Namespace) -> int:
    """Train a network, or go on with a run."""
    from senumpy.training import TrainConfig, resume_run, start_run

    names = TrainConfig.__dataclass_fields__
    settings = {name: value for name, value in vars(arguments).items() if name in names}
    quiet = arguments.quiet
    if arguments.resume is None:
        summary = start_run(settings, out=arguments.out, quiet=quiet)
    else:
        others = {name: settings.pop(name, None) for name in ("workers", "engine", "device")}
        if settings or arguments.out:
            given = next(iter(settings), "out").replace("_", "-")
            raise InputError(
                f"--{given} cannot be given with --resume: a run goes on with the settings in its config.toml"
            )
        summary = resume_run(arguments.resume, **others, quiet=quiet)
    if arguments.json:
        print_json(summary.to_dict())
    else:
        print(summary)
    return DONE


def eval(arguments: argparse.Namespace) -> int:
    """Evaluate a trained network."""
    from senumpy.prediction import evaluate_file

    evaluation = evaluate_file(
        arguments.weights,
        data=arguments.data,
        engine=arguments.engine,
        device=arguments.device,
        precision=arguments.precision,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        crops=arguments.crops,
    )
    return _report(evaluation, arguments.json)


def info(arguments: argparse.Namespace) -> int:
    """Count parameters and multiply-adds."""
    from senumpy.analysis import complexity

    cost = complexity(
        arguments.model,
        size=arguments.input_size,
        num_classes=arguments.classes,
        in_channels=arguments.channels,
    )
    return _report(cost, arguments.json)


def experiment(arguments: argparse.Namespace) -> int:
    """Count the paper's networks."""
    from senumpy.experiments import complexity_tables

    if arguments.out is not None:  # before all is counted
        try:
            arguments.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out: cannot make the folder {arguments.out}: {error.strerror}") from None
    tables = complexity_tables()
    status = _report(tables, arguments.json)
    if arguments.out is not None:
        written = " and ".join(str(path) for path in tables.save(arguments.out))
        print(f"written: {written}", file=sys.stderr)
    return status


def export(arguments: argparse.Namespace) -> int:
    """Write weights in another format."""
    from senumpy import interop

    target = arguments.to
    if target.suffix not in (".safetensors", ".onnx"):
        raise InputError(f"--to: got {target.name}, wanted a name that ends in .safetensors or .onnx")
    if arguments.names == "twin" and target.suffix == ".onnx":
        raise InputError("--names goes with a .safetensors file: the names in a graph are senumpy's")
    if arguments.input_size is not None and arguments.input_size < 1:
        raise InputError(f"--input-size: got {arguments.input_size}, wanted at least 1")
    if arguments.input_size is not None and target.suffix != ".onnx":
        raise InputError("--input-size goes with an .onnx file: weights have no image size")
    loaded = interop.import_weights(arguments.weights)
    names = "senumpy"
    if target.suffix == ".onnx":
        size = arguments.input_size or loaded.preprocessing.size
        interop.save_onnx(target, loaded.model, (size, size))
    elif arguments.names == "twin":
        names = interop.save_foreign(target, loaded.model)
    else:
        interop.save_weights(
            target, loaded.model, preprocessing=loaded.preprocessing, class_names=loaded.class_names
        )
    if arguments.json:
        result = {"model": loaded.model.name, "from": loaded.layout, "names": names, "written": str(target)}
        print_json(result)
    else:
        print(f"{loaded.model.name} written to {target} (names: {names})")
    return DONE


def predict(arguments: argparse.Namespace) -> int:
    """Classify images."""
    from senumpy.prediction import predict as classify

    found = classify(
        arguments.weights,
        arguments.images,
        labels=arguments.labels,
        size=arguments.input_size,
        engine=arguments.engine,
        device=arguments.device,
        precision=arguments.precision,
    )
    if arguments.json:
        print_json([prediction.to_dict() for prediction in found])
    else:
        print("\n\n".join([f"engine {found[0].engine}", *map(str, found)]))
    return DONE


def gradcheck(arguments: argparse.Namespace) -> int:
    """Check gradients."""
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
        print_json({"ok": not failed, "seed": arguments.seed, "operations": [row.to_dict() for row in rows]})
    else:
        for row in failed:
            for reason in row.reasons:
                print(f"{row.op}, {reason}")
    return FAILED if failed else DONE


def selftest(arguments: argparse.Namespace) -> int:
    """Check an engine on this machine."""
    from senumpy.selftest import run_selftest
    from senumpy.storage import write_atomic

    out = arguments.out
    if out is not None and not out.parent.is_dir():  # before minutes of work
        raise InputError(f"--out: no folder {out.parent}")
    given = {"device": arguments.device, "precision": arguments.precision}
    with status_line() as progress:
        report = run_selftest(
            arguments.engine,
            arguments.ops,
            seed=arguments.seed,
            draws=arguments.draws,
            quick=arguments.quick,
            options={name: value for name, value in given.items() if value is not None},
            show=_silent if arguments.json else _print_now,
            progress=progress,
        )
    if arguments.json:
        print_json(report.to_dict())
    if out is not None:
        write_atomic(out, json.dumps(report.to_dict(), indent=2).encode())
    return DONE if report.ok else FAILED


def bench(arguments: argparse.Namespace) -> int:
    """Measure speed and memory."""
    if arguments.plot is not None and not arguments.plot.parent.is_dir():
        raise InputError(f"--plot: no folder {arguments.plot.parent}")
    if arguments.plot is not None and arguments.plot.suffix.lower() != ".png":
        raise InputError(f"--plot: got {arguments.plot.name}, wanted a name that ends in .png")
    return _bench_gpu(arguments) if arguments.engine == "cupy" else _bench_processor(arguments)


def _bench_gpu(arguments: argparse.Namespace) -> int:
    """Measure a GPU beside PyTorch, in this process."""
    from senumpy.bench import gpu

    for name in ("models", "threads"):
        if getattr(arguments, name):
            raise InputError(f"--{name} is for processors: leave it out with --engine cupy")
    given = {"device": arguments.device, "batch": arguments.batch_size, "repeats": arguments.repeats}
    settings = gpu.Settings(**{name: value for name, value in given.items() if value is not None})
    if arguments.plot is not None and "crossover" not in gpu.select_works(arguments.cases):
        raise InputError("--plot draws the crossover on a GPU: wanted crossover among the works")
    with status_line() as progress:
        show = _silent if arguments.json else _print_now
        found, rows = gpu.run(arguments.cases, settings, show=show, progress=progress)
    if arguments.json:
        print_json(found)
    if arguments.plot is not None:
        arguments.plot.write_bytes(gpu.draw_crossover(rows))
    return DONE


def _bench_processor(arguments: argparse.Namespace) -> int:
    """Measure an engine for processors and its peers, each in a process of its own."""
    from senumpy import bench
    from senumpy.engines.cores import default_threads

    for name in ("device", "batch-size"):
        if getattr(arguments, name.replace("-", "_")) is not None:
            raise InputError(f"--{name} goes with --engine cupy; the cases for processors are as they are")
    threads = arguments.threads or default_threads()
    models = arguments.models  # what is asked for is checked before anything is measured
    bench.check_settings(arguments.cases, arguments.engine, arguments.repeats, models=models)
    quiet = arguments.json
    with status_line() as progress:
        progress("the machine's limits")
        limits = bench.measure_limits(threads)
        machine = bench.machine(threads, limits)
        if not quiet:
            header = bench.MODELS_HEADER if models else bench.HEADER
            print("\n".join([*bench.machine_lines(machine), "", header]), flush=True)

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
            models=models,
        )
    if quiet:
        settings = {"engine": arguments.engine or bench.default_engine(), "repeats": arguments.repeats}
        print_json({"machine": machine, **settings, "rows": [row.to_dict() for row in rows]})
    if arguments.plot is not None:
        arguments.plot.write_bytes(bench.draw_ratios(rows))
    return DONE


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Give a function that shows what is being done on one line of the terminal; nothing in a file."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda text: None
        return
    terminal = sys.stderr.isatty()
    with tqdm(bar_format="{desc}", leave=False, disable=not terminal) as bar:
        yield bar.set_description_str


def _print_now(text: str) -> None:
    print(text, flush=True)


def _silent(text: str) -> None:
    """Print nothing."""


def _report(report: Any, as_json: bool) -> int:
    if as_json:
        print_json(report.to_dict())
    else:
        print(report)
    return DONE


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))
