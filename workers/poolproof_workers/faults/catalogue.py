"""What can be broken on purpose: one row a fault, with what it does and what it teaches."""

from __future__ import annotations

import signal
from typing import Final

from poolproof_workers.faults import crashes, memory_limit, resources, shared_state
from poolproof_workers.faults.fault import PAUSE_S, BrokerFault, Fault, SignalFault


def _of_child(name: str, what: str, lesson: str, blow: SignalFault) -> Fault:
    why = "it has no child processes: its slots are in the main process"
    return Fault(name, what, lesson, blow=blow, only_on=("process", "custom"), why_only=why)


#: A record keeps a fault's index here: append, never reorder.
FAULTS: Final = (
    Fault(
        "segfault",
        "reads address 0: the kernel ends the process with SIGSEGV",
        "A crash in native code ends the whole process: one slot of prefork, all slots of threads.",
        crashes.segfault,
    ),
    Fault(
        "os-exit",
        "calls os._exit(3): the process ends without any clean-up",
        "A process that leaves by itself takes the same neighbours along as one that crashes.",
        crashes.os_exit,
    ),
    Fault(
        "kill-self",
        "sends SIGKILL to its own process, as the kernel does when memory runs out",
        "SIGKILL cannot be caught: whatever shares the process is gone.",
        crashes.kill_self,
    ),
    Fault(
        "system-exit",
        "raises SystemExit",
        "Only a process pool notices; on threads the task is never ended nor reported.",
        crashes.system_exit,
    ),
    Fault(
        "exception",
        "raises an ordinary exception",
        "An exception is no crash: it fails one task and costs nobody else anything.",
        crashes.fail,
    ),
    _of_child(
        "kill-child",
        "SIGKILL to one busy child process of the pool",
        "A process pool loses one slot and replaces it. Threads have no child to kill.",
        SignalFault("child", signal.SIGKILL),
    ),
    Fault(
        "kill-worker",
        "SIGKILL to the worker's main process",
        "Every pool dies with its main process; what it had reserved waits for redelivery.",
        blow=SignalFault("main", signal.SIGKILL),
    ),
    Fault(
        "term-worker",
        "SIGTERM to the worker's main process: a warm shutdown",
        "A worker that is asked to stop ends what runs and gives back what it had reserved.",
        blow=SignalFault("main", signal.SIGTERM),
    ),
    # --- from inside: ends ------------------------------------------------------------------------
    Fault(
        "keyboard-interrupt",
        "raises KeyboardInterrupt",
        "No exception handler for Exception sees it, Celery's own neither.",
        crashes.interrupt,
    ),
    Fault(
        "unpicklable-error",
        "raises an exception that holds a function, which cannot be pickled",
        "An error that cannot leave its process is replaced by one that can: it is still reported.",
        crashes.fail_unpicklably,
    ),
    Fault(
        "abort",
        "calls abort(), as a failed assertion in a C library does",
        "A library that gives up ends the process, not the task.",
        crashes.abort,
    ),
    Fault(
        "stack-overflow",
        "recurses in C, where Python does not count, until the stack is full",
        "Python's recursion limit guards Python; below it a full stack is a segfault.",
        crashes.overflow_stack,
    ),
    Fault(
        "memory-error",
        "takes memory up to a limit of the process (rlimit) until Python raises MemoryError",
        "No mere failure: Celery raises it again in its main process, which ends on prefork and "
        "solo; threads lose one task.",
        resources.fill_memory,
    ),
    Fault(
        "oom-kill",
        "takes memory in a cgroup with a limit (of its container, or made for it) until the kernel "
        "kills the process; where there is none, up to an rlimit, and then it kills itself",
        "The kernel kills the process that is too large: a slot of prefork, all of threads.",
        resources.outgrow_limit,
        approach=resources.approach_limit,
        prepare=memory_limit.enter,
    ),
    # --- from inside: no end ----------------------------------------------------------------------
    Fault(
        "python-loop",
        "computes in Python for ever",
        "It keeps one slot; on threads it also takes every other thread's turns at the GIL.",
        crashes.loop_in_python,
        may_hang=True,
    ),
    Fault(
        "c-loop",
        "computes for ever in one call in C that holds the GIL",
        "On threads nothing runs any more, Celery itself neither: nobody hears that it hangs.",
        crashes.loop_in_c,
        may_hang=True,
    ),
    Fault(
        "endless-sleep",
        "waits for what never comes",
        "Without a time limit the slot is gone until somebody restarts the worker.",
        crashes.sleep_for_ever,
        may_hang=True,
    ),
    Fault(
        "soft-time-limit",
        "waits for ever under a soft time limit of one second",
        "Only prefork raises it in the task; threads and solo ignore the setting without a word.",
        crashes.sleep_for_ever,
        may_hang=True,
        settings={"POOLPROOF_SOFT_TIME_LIMIT_S": "1.0"},
    ),
    Fault(
        "hard-time-limit",
        "waits for ever under a hard time limit of one second",
        "Prefork ends the task's process, gevent a greenlet that waits; threads and solo nothing.",
        crashes.sleep_for_ever,
        may_hang=True,
        settings={"POOLPROOF_TIME_LIMIT_S": "1.0"},
    ),
    Fault(
        "revoke-terminate",
        "waits for ever, and is revoked with terminate=True",
        "A process can be ended, and a greenlet that waits: on threads and solo the task goes on.",
        crashes.sleep_for_ever,
        revoked=True,
        may_hang=True,
    ),
    # --- from inside: too much --------------------------------------------------------------------
    Fault(
        "leak",
        "keeps 256 MiB for ever, where a child is recycled above 200 MB",
        "Prefork can replace a child that has grown (max-memory-per-child); threads only grow.",
        resources.leak,
        settings={"POOLPROOF_MAX_MEMORY_PER_CHILD_KB": "200000"},
    ),
    Fault(
        "output-flood",
        "writes 4 MiB to standard error",
        "All processes of a worker share one pipe: it is as fast as whoever reads it.",
        resources.flood_output,
    ),
    Fault(
        "huge-result",
        "returns 32 MiB",
        "With results ignored a large one costs the others nothing.",
        resources.huge_result,
    ),
    Fault(
        "unpicklable-result",
        "returns a function, which can neither be pickled nor written as JSON",
        "With results ignored what a task returns never leaves its process.",
        resources.unpicklable_result,
    ),
    # --- from inside: state that others share -----------------------------------------------------
    Fault(
        "module-list",
        "appends its result to a list in a module",
        "Every thread of a process sees it, no other process does.",
        shared_state.leave_result,
        see=shared_state.see_result,
    ),
    Fault(
        "counter",
        "adds to a shared counter, as the innocent tasks do: value += 1",
        "CPython 3.10 and later lose nothing here as long as there is a GIL; without one they do.",
        shared_state.count_plainly,
        see=shared_state.count_plainly,
    ),
    Fault(
        "counter-call",
        "adds to a shared counter, with a call between the read and the write",
        "Threads lose updates when they are switched in between; processes share nothing.",
        shared_state.count_with_call,
        see=shared_state.count_with_call,
    ),
    Fault(
        "counter-lock",
        "adds to a shared counter, with a call between, under a lock",
        "With a lock nothing is lost, at the price of waiting.",
        shared_state.count_with_lock,
        see=shared_state.count_with_lock,
    ),
    Fault(
        "lock-held",
        "takes a lock and never gives it back",
        "All threads wait for it from then on; of processes only the one that holds it.",
        shared_state.leave_lock,
        see=shared_state.see_lock,
    ),
    Fault(
        "poisoned-global",
        "changes a setting in a module",
        "Later tasks of the same process compute wrongly, and report success.",
        shared_state.leave_global,
        see=shared_state.see_global,
    ),
    Fault(
        "chdir",
        "changes the working directory",
        "A relative path means another file to every task of the process.",
        shared_state.leave_directory,
        see=shared_state.see_directory,
    ),
    Fault(
        "environ",
        "sets TZ in os.environ for itself",
        "The environment is the process's: its other tasks have a new time zone too.",
        shared_state.leave_environ,
        see=shared_state.see_environ,
    ),
    Fault(
        "fds-exhausted",
        "opens files until no file descriptor is left, under a limit near by",
        "Whatever opens a file or a connection in the same process fails.",
        shared_state.leave_fds,
        see=shared_state.see_fds,
    ),
    Fault(
        "stdout-closed",
        "closes file descriptor 1",
        "What others print is lost, or goes into the file that is opened next.",
        shared_state.leave_stdout,
        see=shared_state.see_stdout,
    ),
    Fault(
        "signal-handler",
        "replaces the handler of SIGTERM",
        "A process has one handler for all: a solo worker does not stop when asked any more.",
        shared_state.leave_handler,
        see=shared_state.see_handler,
        only_on=("process", "main", "greenlet", "custom"),
        why_only="Python lets only the main thread set a handler, and no task runs there",
    ),
    Fault(
        "socket-timeout",
        "calls socket.setdefaulttimeout(0.001)",
        "Every socket that the process makes from then on gives up after a millisecond.",
        shared_state.leave_socket_timeout,
        see=shared_state.see_socket_timeout,
    ),
    Fault(
        "decimal-context",
        "lowers the precision of decimal numbers",
        "A context is a thread's, and stays for the slot's next task; a greenlet's ends with it.",
        shared_state.leave_precision,
        see=shared_state.see_precision,
    ),
    Fault(
        "locale",
        "changes the locale's character set",
        "The locale is the process's, although it looks like a setting of one's own.",
        shared_state.leave_locale,
        see=shared_state.see_locale,
    ),
    # --- from outside -----------------------------------------------------------------------------
    _of_child(
        "term-child",
        "SIGTERM to one busy child process of the pool",
        "A child does not finish its task first: a warm shutdown is the main process's business.",
        SignalFault("child", signal.SIGTERM),
    ),
    _of_child(
        "stop-child",
        "SIGSTOP to one busy child process, and SIGCONT after 2 s",
        "The others go on; its task is late and nobody notices.",
        SignalFault("child", signal.SIGSTOP, PAUSE_S),
    ),
    Fault(
        "quit-worker",
        "SIGQUIT to the worker's main process: a cold shutdown",
        "It does not wait for what runs; what was acknowledged before it ran is lost.",
        blow=SignalFault("main", signal.SIGQUIT),
    ),
    Fault(
        "stop-worker",
        "SIGSTOP to the worker's main process, and SIGCONT after 2 s",
        "Threads stand still; the children of prefork finish what they have and wait for more.",
        blow=SignalFault("main", signal.SIGSTOP, PAUSE_S),
    ),
    Fault(
        "term-group",
        "SIGTERM to the worker's process group, as a terminal or an init system may do",
        "The children get it too, and the main process waits in vain for what they ran.",
        blow=SignalFault("group", signal.SIGTERM),
    ),
    # --- the broker, and the way to it ------------------------------------------------------------
    Fault(
        "redis-restart",
        "SIGKILL to a Redis that keeps all on disk, and its start with the same data 2 s later",
        "Redis forgets nothing; a worker forgets what it held and is given it again, or it ends.",
        trouble=BrokerFault("restart", PAUSE_S),
    ),
    Fault(
        "redis-pause",
        "Redis answers nobody for 2 s (CLIENT PAUSE)",
        "Nobody loses a connection: what runs goes on, what is to be fetched waits.",
        trouble=BrokerFault("pause", PAUSE_S),
    ),
    Fault(
        "client-kill",
        "Redis closes the worker's connections (CLIENT KILL)",
        "A lost connection alone makes a worker forget what it held, while Redis keeps it.",
        trouble=BrokerFault("kill"),
    ),
    Fault(
        "broker-cut",
        "the worker's connections to Redis are reset, and new ones refused for 2 s",
        "A worker comes back by itself; what it ended meanwhile it cannot acknowledge any more.",
        trouble=BrokerFault("cut", PAUSE_S),
    ),
    Fault(
        "broker-slow",
        "each packet between the worker and Redis takes 50 ms longer, each way, for 3 s",
        "Acknowledging and fetching wait for the network; short tasks are fetched too slowly.",
        trouble=BrokerFault("slow", 3.0, delay_s=0.05),
    ),
)

OUTSIDE: Final = tuple(fault.name for fault in FAULTS if fault.where == "outside")


def find(name: str) -> tuple[int, Fault]:
    """Return a fault and its index. Raises KeyError for an unknown name."""
    for index, fault in enumerate(FAULTS):
        if fault.name == name:
            return index, fault
    raise KeyError(name)
