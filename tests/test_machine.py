"""Facts of the machine, which are asked for also where torch does not load."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from cprec_lib.machine import cpu_cores, describe_machine, free_bytes


def test_facts_are_there_without_torch():
    program = "import sys; sys.modules['torch'] = None; from cprec_lib.machine import cpu_cores"
    command = [sys.executable, "-c", f"{program}; print(cpu_cores())"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(cpu_cores())), done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_cores_are_those_that_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cpu_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_free_memory_is_in_bytes():
    assert 10**6 < free_bytes(torch.device("cpu")) < psutil.virtual_memory().total


def test_a_record_names_the_processor_and_its_instructions():
    hardware = describe_machine(torch.device("cpu"))["hardware"]
    name, _, instructions = hardware.rpartition(", ")
    assert instructions == torch.backends.cpu.get_cpu_capability()
    facts = Path("/proc/cpuinfo")
    if facts.exists() and "model name" in (text := facts.read_text(errors="replace")):
        assert f": {name.partition(' (model ')[0]}\n" in text
