"""The one thread pool: `parallel_for` inside compiled code, and the workers that serve it.

A call cuts its work into chunks. The caller and the workers take chunks from a counter until none is left, so
a core that somebody else keeps busy slows nothing but its own chunk. Nothing is locked: the number of the
task, its count of chunks and the next chunk are one 64-bit word (the ticket), and a chunk is taken by
comparing and swapping it. A worker that comes too late finds a ticket without chunks, or the next task's.
The caller leaves when all chunks are done, it never waits for a worker that has taken none.

Workers wait for the next task by watching the ticket for a short while (half a millisecond), outside the
GIL, and then sleep until a caller wakes them: an idle program uses no processor time.
"""

from __future__ import annotations

import atexit
import os
import platform
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from senumpy.engines.cores import MOST_THREADS
from senumpy.engines.numba.compiler import compiled, kernel

# The words of the pool's state, each on a cache line of its own (8 words of 8 bytes).
_TICKET, _FUNCTION, _ARGUMENTS, _FIRST, _DONE, _LIMIT, _STOP, _ASLEEP = (8 * k for k in range(8))
_WORDS = _ASLEEP + 8 * MOST_THREADS
_CHUNK_BITS = 20  # a ticket: task number, chunks (20 bits), next chunk (20 bits)
_CHUNK_MASK = (1 << _CHUNK_BITS) - 1
_SPINS = 50_000
_I64 = ir.IntType(64)
_TASK = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), _I64, _I64])


@intrinsic
def _load(typingctx: Any, state: Any, word: Any) -> Any:
    """Read a word that other threads write."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.add(args[0], builder.mul(args[1], _I64(8)))
        return builder.load_atomic(builder.inttoptr(address, _I64.as_pointer()), "seq_cst", 8)

    return types.int64(types.intp, types.intp), codegen


@intrinsic
def _store(typingctx: Any, state: Any, word: Any, value: Any) -> Any:
    """Write a word that other threads read."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.add(args[0], builder.mul(args[1], _I64(8)))
        builder.store_atomic(args[2], builder.inttoptr(address, _I64.as_pointer()), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.int64), codegen


@intrinsic
def _add(typingctx: Any, state: Any, word: Any) -> Any:
    """Add 1 to a word."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.add(args[0], builder.mul(args[1], _I64(8)))
        pointer = builder.inttoptr(address, _I64.as_pointer())
        builder.atomic_rmw("add", pointer, _I64(1), "seq_cst")
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def _swap(typingctx: Any, state: Any, word: Any, old: Any, new: Any) -> Any:
    """Write `new` where the word is `old`; return whether it was."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.add(args[0], builder.mul(args[1], _I64(8)))
        pointer = builder.inttoptr(address, _I64.as_pointer())
        result = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(result, 1)

    return types.boolean(types.intp, types.intp, types.int64, types.int64), codegen


@intrinsic
def _pause(typingctx: Any) -> Any:
    """Tell the processor that this is a waiting loop."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            hint = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, hint, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _call_task(typingctx: Any, function: Any, arguments: Any, chunk: Any, thread: Any) -> Any:
    """Call the task at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.inttoptr(args[0], _TASK.as_pointer())
        arguments = builder.inttoptr(args[1], ir.IntType(8).as_pointer())
        builder.call(function, [arguments, args[2], args[3]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), codegen


@kernel
def _take_chunks(state, task, thread):
    """Run chunks of the task with this number until none is left."""
    while True:
        ticket = _load(state, _TICKET)
        chunk = ticket & _CHUNK_MASK
        if ticket >> (2 * _CHUNK_BITS) != task or chunk >= (ticket >> _CHUNK_BITS) & _CHUNK_MASK:
            return
        if _swap(state, _TICKET, ticket, ticket + 1):
            # From here on the caller waits for this chunk, so function and arguments are the task's.
            chunk += _load(state, _FIRST)
            _call_task(_load(state, _FUNCTION), _load(state, _ARGUMENTS), chunk, thread)
            _add(state, _DONE)


@kernel
def _run_task(state, chunks, function, arguments):
    """Post a task, help with it, and return when it is done; with very many chunks, in several tasks."""
    if state == 0 or chunks == 1:
        for chunk in range(chunks):
            _call_task(function, arguments, chunk, 0)
        return
    for first in range(0, chunks, _CHUNK_MASK):
        some = min(_CHUNK_MASK, chunks - first)
        task = ((_load(state, _TICKET) >> (2 * _CHUNK_BITS)) + 1) & 0x3FFFFF
        _store(state, _FUNCTION, function)
        _store(state, _ARGUMENTS, arguments)
        _store(state, _FIRST, first)
        _store(state, _DONE, 0)
        _store(state, _TICKET, (task << (2 * _CHUNK_BITS)) | (some << _CHUNK_BITS))
        _take_chunks(state, task, 0)
        while _load(state, _DONE) < some:
            _pause()


@compiled
def _serve(state, thread, spins):
    """Work on tasks until there has been none for a while; return whether to go on after a sleep."""
    last = -1
    idle = 0
    _store(state, _ASLEEP + 8 * thread, 0)
    while _load(state, _STOP) == 0:
        task = _load(state, _TICKET) >> (2 * _CHUNK_BITS)
        if task != last and thread < _load(state, _LIMIT):
            _take_chunks(state, task, thread)
            last = task
            idle = 0
        elif idle < spins:
            _pause()
            idle += 1
        else:
            _store(state, _ASLEEP + 8 * thread, 1)
            return True
    return False


@intrinsic
def parallel_for(typingctx: Any, state: Any, chunks: Any, kernel: Any, arguments: Any) -> Any:
    """Call `kernel(*arguments, chunk, thread)` for every chunk from 0 to `chunks` - 1, on all threads.

    `state` is what `ThreadPool.acquire` returned, `arguments` is a tuple, `thread` a number from 0 on that
    no two chunks have at the same time. For compiled code only.
    """
    kernel_arguments = (*arguments.types, types.intp, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dispatcher = kernel.dispatcher
        dispatcher.compile(kernel_arguments)
        result = dispatcher.overloads[kernel_arguments]
        context.active_code_library.add_linking_library(result.library)
        # A function of a type that every kernel shares: it takes the arguments out of memory.
        name = cgutils.normalize_ir_text(f"task_{result.fndesc.mangled_name}")
        task = ir.Function(builder.module, _TASK, name=builder.module.get_unique_name(name))
        task.linkage = "internal"
        inner = ir.IRBuilder(task.append_basic_block("entry"))
        packed = args[3]
        stored = inner.load(inner.bitcast(task.args[0], packed.type.as_pointer()))
        values = [inner.extract_value(stored, k) for k in range(len(arguments.types))]
        callee = context.declare_function(builder.module, result.fndesc)
        context.call_conv.call_function(
            inner, callee, types.none, kernel_arguments, [*values, task.args[1], task.args[2]]
        )
        inner.ret_void()

        memory = cgutils.alloca_once_value(builder, packed)
        run = context.get_function(_run_type, _run_signature(typingctx))
        context.add_linking_libs(getattr(run, "libs", ()))
        run(builder, (args[0], args[1], builder.ptrtoint(task, _I64), builder.ptrtoint(memory, _I64)))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, kernel, arguments), codegen


_run_type = types.Dispatcher(_run_task)


def _run_signature(typingctx: Any) -> Any:
    return _run_type.get_call_type(typingctx, (types.intp,) * 4, {})


class ThreadPool:
    """The workers of this process; all engines share them.

    One call at a time has the workers. A second one, from another Python thread, works alone meanwhile.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew, without workers: a forked process has none of its parent's threads."""
        self._state = np.zeros(_WORDS, np.int64)
        self._address = self._state.ctypes.data
        self._busy = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._wake: list[threading.Semaphore] = []

    def acquire(self, threads: int) -> int:
        """Return the state to give to `parallel_for`: 0 for work on the calling thread alone."""
        if threads < 2 or not self._busy.acquire(blocking=False):
            return 0
        try:
            self._wake_up(threads)
        except BaseException:  # Ctrl-C, or no more threads to be had
            self._busy.release()
            raise
        return self._address

    def release(self, state: int) -> None:
        """Give the workers back."""
        if state:
            self._busy.release()

    def _wake_up(self, threads: int) -> None:
        state = self._state
        while len(self._workers) < threads - 1:
            self._start_worker()
        state[_LIMIT] = threads
        for k in range(threads - 1):
            asleep = _ASLEEP + 8 * (k + 1)
            if state[asleep]:
                state[asleep] = 0
                self._wake[k].release()

    def _start_worker(self) -> None:
        wake = threading.Semaphore(0)
        number = len(self._workers) + 1
        worker = threading.Thread(
            target=self._work, args=(number, wake), name=f"senumpy-{number}", daemon=True
        )
        worker.start()
        self._wake.append(wake)
        self._workers.append(worker)

    def _work(self, number: int, wake: threading.Semaphore) -> None:
        while _serve(self._address, number, _SPINS):
            wake.acquire()

    def stop(self) -> None:
        """End the workers: they must not outlive the memory that they watch."""
        self._state[_STOP] = 1
        for wake, worker in zip(self._wake, self._workers, strict=True):
            wake.release()
            worker.join()


POOL = ThreadPool()
atexit.register(POOL.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.restart)
